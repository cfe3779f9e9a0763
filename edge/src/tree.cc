#include "tree.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace memdb_edge {

namespace {

constexpr std::size_t kHeader = 16;
constexpr std::size_t kNode = 8;
constexpr std::size_t kPlace = 8;  // of a value's first page
constexpr std::uint16_t kBranch = 1, kLeaf = 2, kOverflow = 4;
constexpr std::uint16_t kBigData = 1;
constexpr std::uint64_t kMetaPages = 2;
constexpr std::uint64_t kDepthMax = 32;
constexpr std::size_t kPageMax = 1 << 15;  // of LMDB: what is in a page is told by 16 bits

template <typename T>
T At(const char* place) {
  T value;
  std::memcpy(&value, place, sizeof value);
  return value;
}

bool ReadAll(int fd, char* into, std::size_t bytes, std::uint64_t from) {
  while (bytes != 0) {
    const ssize_t count = pread(fd, into, bytes, static_cast<off_t>(from));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    into += count;
    from += static_cast<std::uint64_t>(count);
    bytes -= static_cast<std::size_t>(count);
  }
  return true;
}

struct Node {
  std::size_t begin;     // in its page
  std::uint32_t low;     // of a child's number, or bytes of a value
  std::uint16_t flags;   // of a value, or the upper bits of a child's number
  std::uint16_t key_bytes;
};

// A page and its nodes, which lie inside it.
class Page {
 public:
  // False where it is not of that kind, or not whole.
  bool Read(const PageFile& file, std::uint64_t number, std::uint16_t kind) {
    const std::size_t size = file.page_bytes;
    bytes_.resize(size);
    if (!ReadAll(file.fd, bytes_.data(), size, number * size)) return false;
    const char* page = bytes_.data();
    const std::size_t lower = At<std::uint16_t>(page + 12), upper = At<std::uint16_t>(page + 14);
    if (At<std::uint64_t>(page) != number || At<std::uint16_t>(page + 10) != kind) return false;
    if (lower < kHeader + 2 || lower > upper || upper > size) return false;
    nodes_.clear();
    for (std::size_t place = kHeader; place + 2 <= lower; place += 2) {
      const std::size_t begin = At<std::uint16_t>(page + place);
      if (begin < upper || begin + kNode > size || begin % 2 != 0) return false;
      const char* head = page + begin;
      nodes_.push_back({begin, At<std::uint32_t>(head), At<std::uint16_t>(head + 4), At<std::uint16_t>(head + 6)});
      if (begin + kNode + Room(nodes_.back(), kind) > size) return false;
    }
    return Fill(kind, upper, size);
  }

  const std::vector<Node>& nodes() const { return nodes_; }
  const char* key(const Node& node) const { return bytes_.data() + node.begin + kNode; }

 private:
  // Bytes behind a node's head.
  static std::size_t Room(const Node& node, std::uint16_t kind) {
    if (kind == kBranch) return node.key_bytes;
    return node.key_bytes + (node.flags == kBigData ? kPlace : std::size_t{node.low});
  }

  // Whether the nodes follow each other without a gap, to the end of the page.
  bool Fill(std::uint16_t kind, std::size_t upper, std::size_t size) {
    order_ = nodes_;
    std::sort(order_.begin(), order_.end(), [](const Node& one, const Node& other) { return one.begin < other.begin; });
    std::size_t at = upper;
    for (const Node& node : order_) {
      if (node.begin != at) return false;
      at = (node.begin + kNode + Room(node, kind) + 1) & ~std::size_t{1};
    }
    return at == size;
  }

  std::vector<char> bytes_;
  std::vector<Node> nodes_, order_;
};

class Walk {
 public:
  Walk(const PageFile& file, const Tree& tree, std::vector<std::int64_t>* pages)
      : file_(file), tree_(tree), pages_(pages), seen_(file.end), levels_(tree.depth) {}

  bool Go() {
    if (!Enter(tree_.root) || !Below(tree_.root, 0)) return false;
    return branches_ == tree_.branch_pages && leaves_ == tree_.leaf_pages && entries_ == tree_.entries &&
           values_ == tree_.overflow_pages;
  }

 private:
  // A page of the tree, which comes once: so that no damage has the walk go on for ever.
  bool Enter(std::uint64_t number) {
    if (number < kMetaPages || number >= file_.end || seen_[number]) return false;
    seen_[number] = true;
    pages_->push_back(static_cast<std::int64_t>(number));
    return true;
  }

  bool Below(std::uint64_t number, std::uint64_t level) {
    const bool is_leaf = level + 1 == tree_.depth;
    Page& page = levels_[level];
    if (!page.Read(file_, number, is_leaf ? kLeaf : kBranch)) return false;
    if (is_leaf) return Leaf(page);
    ++branches_;
    bool is_first = true;
    for (const Node& node : page.nodes()) {
      // Between two children: behind all below the one, and before none below the other.
      if (!is_first) {
        if (node.key_bytes != last_.size() || std::memcmp(page.key(node), last_.data(), last_.size()) <= 0) return false;
        parting_ = page.key(node);
      }
      is_first = false;
      const std::uint64_t child = node.low | std::uint64_t{node.flags} << 32;
      if (!Enter(child) || !Below(child, level + 1)) return false;
    }
    return true;
  }

  bool Leaf(const Page& page) {
    ++leaves_;
    for (const Node& node : page.nodes()) {
      const std::size_t length = node.key_bytes;
      const char* key = page.key(node);
      if (entries_ == 0) {
        if (length == 0 || length % 2 != 0) return false;
      } else if (length != last_.size() || std::memcmp(key, last_.data(), length) <= 0) {
        return false;
      }
      if (parting_ != nullptr && std::memcmp(parting_, key, length) > 0) return false;
      parting_ = nullptr;
      last_.assign(key, key + length);
      ++entries_;
      if (node.flags != 0 && (node.flags != kBigData || !Value(At<std::uint64_t>(key + length), node.low))) return false;
    }
    return true;
  }

  // Of a value with pages of its own.
  bool Value(std::uint64_t first, std::uint64_t bytes) {
    const std::uint64_t count = (kHeader - 1 + bytes) / file_.page_bytes + 1;
    if (first < kMetaPages || first >= file_.end || count > file_.end - first) return false;
    if (file_.values) {
      char head[kHeader];
      if (!ReadAll(file_.fd, head, kHeader, first * file_.page_bytes)) return false;
      if (At<std::uint64_t>(head) != first || At<std::uint16_t>(head + 8) != 0 ||
          At<std::uint16_t>(head + 10) != kOverflow || At<std::uint32_t>(head + 12) != count) {
        return false;
      }
    }
    for (std::uint64_t page = first; page < first + count; ++page) {
      if (!Enter(page)) return false;
    }
    values_ += count;
    return true;
  }

  const PageFile& file_;
  const Tree& tree_;
  std::vector<std::int64_t>* pages_;
  std::vector<bool> seen_;
  std::vector<Page> levels_;  // the pages from the root to where the walk is
  const char* parting_ = nullptr;  // the key that stands before the leaf that comes next; in a page of `levels_`
  std::vector<char> last_;         // the last key
  std::uint64_t branches_ = 0, leaves_ = 0, entries_ = 0, values_ = 0;
};

}  // namespace

bool OrdinaryPages(const PageFile& file, const Tree& tree, std::vector<std::int64_t>* pages) {
  if (tree.depth < 1 || tree.depth > kDepthMax || file.page_bytes < kHeader || file.page_bytes > kPageMax) return false;
  return Walk(file, tree, pages).Go();
}

}  // namespace memdb_edge
