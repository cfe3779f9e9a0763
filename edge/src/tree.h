// Whether a B-tree of an LMDB file is as nearly all are, page by page: what memdb/store/ordinary_tree.py says, level by
// level, of trees that fit into its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace memdb_edge {

// The data file.
struct PageFile {
  int fd;
  std::size_t page_bytes;
  std::uint64_t end;  // the first page that is not of it, or was never used
  bool values;        // whether to look at the first pages of values, and not only where they are
};

// What a table's record says of its tree.
struct Tree {
  std::uint64_t root;
  std::uint64_t depth;
  std::uint64_t branch_pages;
  std::uint64_t leaf_pages;
  std::uint64_t overflow_pages;
  std::uint64_t entries;
};

// Puts the numbers of all pages of a tree into `pages`, each once; false, with some of them there, unless it is ordinary:
// keys of one, even length in the order of their bytes, with values of their own, and nothing wrong.  Reads nothing but
// by pread(2), so that no damage can do any.
bool OrdinaryPages(const PageFile& file, const Tree& tree, std::vector<std::int64_t>* pages);

}  // namespace memdb_edge
