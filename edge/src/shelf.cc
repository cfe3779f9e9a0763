#include "shelf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "best.h"
#include "listed.h"
#include "question.h"

namespace memdb_edge {

namespace {

constexpr std::size_t kAnswerBytesMax = 1 << 20;
constexpr std::size_t kAnswersBytesMax = 4 << 20;  // to many questions
constexpr std::size_t kQuickMax = 8;               // questions that take no longer than it takes to wake a thread or two
constexpr std::uint64_t kSampleEvery = 256;       // memdb/index/indexed.py
constexpr std::size_t kHitBytes = 40;              // of a hit beside its clip, with tags and lengths, at most

void PutVarint(std::string* out, std::uint64_t value) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void PutDouble(std::string* out, char tag, double value) {
  char bytes[8];
  std::memcpy(bytes, &value, 8);  // little-endian, as the machines that this is built for are
  out->push_back(tag);
  out->append(bytes, 8);
}

void PutBytes(std::string* out, char tag, std::string_view bytes) {
  out->push_back(tag);
  PutVarint(out, bytes.size());
  out->append(bytes);
}

std::size_t VarintBytes(std::uint64_t value) {
  std::size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

// A hit as a field of memdb.v1.GroundResponse; null: without its clip.
void PutHit(std::string* out, const std::string* clip, float score, double relevance) {
  const double wide = static_cast<double>(score);
  const bool scored = wide != 0.0 || std::signbit(wide);  // 0 is not written
  const std::size_t clip_bytes = clip == nullptr ? 0 : 1 + VarintBytes(clip->size()) + clip->size();
  out->push_back(0x0a);
  PutVarint(out, clip_bytes + (scored ? 9 : 0) + 9);
  if (clip != nullptr) PutBytes(out, 0x0a, *clip);
  if (scored) PutDouble(out, 0x11, wide);
  PutDouble(out, 0x19, relevance);
}

std::string KeyOf(std::string_view user, bool global_memory, bool keyframes) {
  std::string key(user);
  key.push_back(static_cast<char>(global_memory | keyframes << 1));
  return key;
}

// Rows that the filters of a question admit; false where the question names what is not there.
bool Admit(const Prepared& prepared, const Question& question, std::vector<std::uint32_t>* rows) {
  std::vector<std::uint8_t> wanted(prepared.streams.size(), question.streams.empty());
  for (const auto& name : question.streams) {
    const auto found = std::find_if(prepared.streams.begin(), prepared.streams.end(),
                                    [&name](const Null& stream) { return stream.name == name; });
    if (found == prepared.streams.end()) return false;
    wanted[static_cast<std::size_t>(found - prepared.streams.begin())] = 1;
  }
  for (std::size_t row = 0; row < prepared.rows; ++row) {
    if (!prepared.alive[row] || !wanted[prepared.stream[row]]) continue;
    const std::int64_t start = prepared.start_ns[row], end = prepared.end_ns[row];
    if (question.end_ns && start >= *question.end_ns) continue;
    // A clip of no length counts as a point.
    if (question.start_ns && end <= *question.start_ns && start < *question.start_ns) continue;
    rows->push_back(static_cast<std::uint32_t>(row));
  }
  return true;
}

}  // namespace

std::size_t Prepared::Bytes() const {
  std::size_t bytes = sizeof(Prepared) + user.size() + tail.size() + rows * (8 + 8 + 1 + 4 + sizeof(std::string));
  for (const auto& clip : clips) bytes += clip.size();
  for (const auto& null : streams) bytes += sizeof(Null) + null.name.size() + 8 * null.mean.size();
  return bytes;
}

bool Shelf::Put(std::shared_ptr<const Prepared> prepared) {
  const std::string key = KeyOf(prepared->user, prepared->global_memory, prepared->keyframes);
  const std::size_t bytes = prepared->Bytes();
  return Put(key, {std::move(prepared), nullptr, bytes, {}});
}

bool Shelf::Put(std::shared_ptr<const Listed> listed) {
  const std::string key = KeyOf(listed->user, listed->global_memory, listed->keyframes);
  std::size_t bytes = sizeof(Listed) + listed->user.size() + listed->only.size() + listed->tail.size();
  for (const auto& [number, null] : listed->streams) bytes += sizeof(Null) + 8 * null.mean.size();
  return Put(key, {nullptr, std::move(listed), bytes, {}});
}

bool Shelf::Put(const std::string& key, Entry entry) {
  if (entry.bytes > bytes_max_) return false;
  std::unique_lock lock(mutex_);
  const auto before = entries_.find(key);
  if (before != entries_.end()) Drop(before);
  while (bytes_ + entry.bytes > bytes_max_) Drop(entries_.find(order_.front()));
  order_.push_back(key);
  entry.place = std::prev(order_.end());
  bytes_ += entry.bytes;
  if (entry.listed) entry.listed->is_there.store(true);
  entries_[key] = std::move(entry);
  return true;
}

void Shelf::Withdraw(const std::string& user) {
  std::unique_lock lock(mutex_);
  for (int parts = 0; parts < 4; ++parts) {
    const auto found = entries_.find(KeyOf(user, parts & 1, parts >> 1));
    if (found != entries_.end()) Drop(found);
  }
}

void Shelf::Drop(std::unordered_map<std::string, Entry>::iterator entry) {
  bytes_ -= entry->second.bytes;
  if (entry->second.listed) entry->second.listed->is_there.store(false);
  order_.erase(entry->second.place);
  entries_.erase(entry);
}

std::size_t Shelf::bytes() const {
  std::shared_lock lock(mutex_);
  return bytes_;
}

std::size_t Shelf::users() const {
  std::shared_lock lock(mutex_);
  return entries_.size();
}

std::vector<std::string> Shelf::TakeAsked() {
  std::vector<std::string> asked;
  std::shared_lock lock(mutex_);
  for (const auto& [key, entry] : entries_) {
    if (entry.prepared && entry.prepared->asked.exchange(false)) asked.push_back(entry.prepared->user);
    if (entry.listed && entry.listed->asked.load() != 0) asked.push_back(entry.listed->user);
  }
  return asked;
}

Shelf::Entry Shelf::Find(const Question& question) const {
  std::shared_lock lock(mutex_);
  const auto found = entries_.find(KeyOf(question.user, question.global_memory, question.keyframes));
  return found == entries_.end() ? Entry() : found->second;
}

std::optional<std::string> Shelf::Answer(const char* request, std::size_t length) const {
  if (closed_.load(std::memory_order_relaxed)) return std::nullopt;
  const auto question = ReadQuestion(request, length);
  if (!question) return std::nullopt;
  const auto [prepared, listed, bytes, place_of] = Find(*question);
  if (listed) return AnswerByLists(*listed, *question);
  if (!prepared || question->feature.size() != prepared->dim * sizeof(float)) return std::nullopt;
  thread_local std::vector<std::uint32_t> admitted;
  admitted.clear();
  if (!Admit(*prepared, *question, &admitted) || admitted.empty()) return std::nullopt;
  thread_local Found found;
  if (!Search(kernels_, *prepared, question->feature.data(), question->limit, admitted, &found)) return std::nullopt;
  std::size_t size = prepared->tail.size();
  for (const std::uint32_t row : found.rows) size += prepared->clips[row].size() + kHitBytes;
  if (size > kAnswerBytesMax) return std::nullopt;
  std::string answer;
  answer.reserve(size);
  for (std::size_t place = 0; place < found.rows.size(); ++place) {
    const std::string& clip = prepared->clips[found.rows[place]];
    PutHit(&answer, &clip, found.scores[place], found.relevances[place]);
  }
  answer += prepared->tail;
  prepared->asked.store(true, std::memory_order_relaxed);
  answered_.fetch_add(1, std::memory_order_relaxed);
  return answer;
}

std::optional<std::string> Shelf::AnswerByLists(const Listed& listed, const Question& question) const {
  if (question.exact || question.start_ns || question.end_ns || question.limit > listed.rows) return std::nullopt;
  // A user's only camera, named, is no filter.
  if (question.streams.size() > 1) return std::nullopt;
  if (question.streams.size() == 1 && (listed.only.empty() || listed.only != question.streams[0])) return std::nullopt;
  if (question.feature.size() != listed.dim * sizeof(float)) return std::nullopt;
  thread_local ListedHits hits;
  if (!SearchListed(kernels_, listed, question.feature.data(), question.limit, &hits)) return std::nullopt;
  std::vector<std::uint32_t> missing;
  const auto clips = listed.clips->Find(hits.rows, &missing);
  if (!missing.empty()) {
    listed.NoteMissing(missing);
    return std::nullopt;
  }
  std::size_t size = listed.tail.size();
  for (const auto& clip : clips) size += clip->size() + kHitBytes;
  if (size > kAnswerBytesMax) return std::nullopt;
  std::string answer;
  answer.reserve(size);
  for (std::size_t place = 0; place < clips.size(); ++place) {
    PutHit(&answer, clips[place].get(), hits.scores[place], hits.relevances[place]);
  }
  answer += listed.tail;
  // One in so many is compared with the exact answer.
  if (by_lists_.fetch_add(1, std::memory_order_relaxed) % kSampleEvery == kSampleEvery - 1) {
    listed.NoteSample(question.feature.data(), hits.scores);
  }
  listed.asked.fetch_add(1, std::memory_order_relaxed);
  answered_.fetch_add(1, std::memory_order_relaxed);
  return answer;
}

std::optional<std::string> Shelf::LongOf(const char* request, std::size_t length) const {
  const auto questions = ReadQuestions(request, length);
  if (!questions || questions->count <= kQuickMax || !Find(questions->common).prepared) return std::nullopt;
  return std::string(questions->common.user);
}

std::optional<std::string> Shelf::AnswerMany(const char* request, std::size_t length) const {
  if (closed_.load(std::memory_order_relaxed)) return std::nullopt;
  const auto questions = ReadQuestions(request, length);
  if (!questions) return std::nullopt;
  const auto prepared = Find(questions->common).prepared;
  if (!prepared || questions->dim != prepared->dim) return std::nullopt;
  thread_local std::vector<std::uint32_t> admitted;
  admitted.clear();
  if (!Admit(*prepared, questions->common, &admitted) || admitted.empty()) return std::nullopt;
  thread_local Found found;
  thread_local std::string one;
  constexpr std::uint32_t kNowhere = std::numeric_limits<std::uint32_t>::max();
  std::vector<std::uint32_t> places(prepared->rows, kNowhere), rows;
  std::string answer, hit_clips;
  std::size_t clip_bytes = 0;
  for (std::size_t number = 0; number < questions->count; ++number) {
    const char* feature = questions->features.data() + number * questions->dim * sizeof(float);
    if (!Search(kernels_, *prepared, feature, questions->common.limit, admitted, &found)) return std::nullopt;
    one.clear();
    for (std::size_t place = 0; place < found.rows.size(); ++place) {
      const std::uint32_t row = found.rows[place];
      PutHit(&one, nullptr, found.scores[place], found.relevances[place]);
      if (places[row] == kNowhere) {
        places[row] = static_cast<std::uint32_t>(rows.size());
        rows.push_back(row);
        clip_bytes += prepared->clips[row].size() + kHitBytes;
      }
      PutVarint(&hit_clips, places[row]);
    }
    one += prepared->tail;
    PutBytes(&answer, 0x0a, one);
    if (answer.size() + clip_bytes > kAnswersBytesMax) return std::nullopt;
  }
  answer.reserve(answer.size() + clip_bytes + hit_clips.size() + kHitBytes);
  for (const std::uint32_t row : rows) PutBytes(&answer, 0x12, prepared->clips[row]);
  PutBytes(&answer, 0x1a, hit_clips);
  prepared->asked.store(true, std::memory_order_relaxed);
  answered_.fetch_add(questions->count, std::memory_order_relaxed);
  return answer;
}

}  // namespace memdb_edge
