#include "shelf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "question.h"

namespace memdb_edge {

namespace {

constexpr double kCentreShare = 0.7;                    // memdb/engine/relevance.py
constexpr double kLogistic = 3.141592653589793 / 1.7320508075688772;
constexpr double kLogOfTwo = 0.693147180559945309417232121458176568;
constexpr std::size_t kAnswerBytesMax = 1 << 20;

// numpy's sum of a contiguous array (pairwise, in blocks of 128, eight at a time): the same order, the same sum.
template <typename T>
T SumByPairs(const T* values, std::size_t count) {
  if (count < 8) {
    T sum = T(-0.0);
    for (std::size_t place = 0; place < count; ++place) sum += values[place];
    return sum;
  }
  if (count <= 128) {
    T part[8];
    for (int lane = 0; lane < 8; ++lane) part[lane] = values[lane];
    std::size_t place = 8;
    for (; place < count - count % 8; place += 8) {
      for (int lane = 0; lane < 8; ++lane) part[lane] += values[place + lane];
    }
    T sum = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    for (; place < count; ++place) sum += values[place];
    return sum;
  }
  std::size_t half = count / 2;
  half -= half % 8;
  return SumByPairs(values, half) + SumByPairs(values + half, count - half);
}

double LogOfSum(double other) {  // numpy.logaddexp(0.0, other)
  if (other == 0.0) return kLogOfTwo;
  const double apart = 0.0 - other;
  if (apart > 0) return 0.0 + std::log1p(std::exp(-apart));
  if (apart <= 0) return other + std::log1p(std::exp(apart));
  return apart;
}

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
  for (const auto& hit : hits) bytes += hit.size();
  for (const auto& null : streams) bytes += sizeof(Null) + null.name.size() + 8 * null.mean.size();
  return bytes;
}

bool UnitVector(const float* vector, std::size_t dim, float* out) {
  float largest = 0.0F;
  for (std::size_t place = 0; place < dim; ++place) {
    const float magnitude = std::fabs(vector[place]);
    if (!(magnitude <= std::numeric_limits<float>::max())) return false;
    largest = std::max(largest, magnitude);
  }
  if (largest == 0.0F) return false;
  thread_local std::vector<float> squares;
  squares.resize(dim);
  for (std::size_t place = 0; place < dim; ++place) {
    out[place] = vector[place] / largest;
    squares[place] = out[place] * out[place];
  }
  const float length = std::sqrt(SumByPairs(squares.data(), dim));
  for (std::size_t place = 0; place < dim; ++place) out[place] /= length;
  return true;
}

double DotByPairs(const double* left, const float* right, std::size_t dim) {
  thread_local std::vector<double> products;
  products.resize(dim);
  for (std::size_t place = 0; place < dim; ++place) products[place] = left[place] * static_cast<double>(right[place]);
  return SumByPairs(products.data(), dim);
}

void Relevances(const Kernels& kernels, const float* scores, const double* means, const double* spreads,
                const double* things, std::size_t count, double* out) {
  for (std::size_t place = 0; place < count; ++place) {
    const double z = (static_cast<double>(scores[place]) - kCentreShare * means[place]) / spreads[place];
    out[place] = -things[place] * LogOfSum(-kLogistic * z);
  }
  char* arrays[2] = {reinterpret_cast<char*>(out), reinterpret_cast<char*>(out)};
  const std::intptr_t length = static_cast<std::intptr_t>(count);
  const std::intptr_t steps[2] = {sizeof(double), sizeof(double)};
  kernels.exp_loop(arrays, &length, steps, kernels.exp_data);
}

bool Shelf::Put(std::shared_ptr<const Prepared> prepared) {
  const std::size_t size = prepared->Bytes();
  if (size > bytes_max_) return false;
  const std::string key = KeyOf(prepared->user, prepared->global_memory, prepared->keyframes);
  std::unique_lock lock(mutex_);
  const auto before = entries_.find(key);
  if (before != entries_.end()) Drop(before);
  while (bytes_ + size > bytes_max_) Drop(entries_.find(order_.front()));
  order_.push_back(key);
  entries_[key] = {std::move(prepared), std::prev(order_.end())};
  bytes_ += size;
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
  bytes_ -= entry->second.prepared->Bytes();
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
    if (entry.prepared->asked.exchange(false)) asked.push_back(entry.prepared->user);
  }
  return asked;
}

std::optional<std::string> Shelf::Answer(const char* request, std::size_t length) const {
  if (closed_.load(std::memory_order_relaxed)) return std::nullopt;
  const auto question = ReadQuestion(request, length);
  if (!question) return std::nullopt;
  std::shared_ptr<const Prepared> prepared;
  {
    std::shared_lock lock(mutex_);
    const auto found = entries_.find(KeyOf(question->user, question->global_memory, question->keyframes));
    if (found == entries_.end()) return std::nullopt;
    prepared = found->second.prepared;
  }
  const std::size_t dim = prepared->dim, rows = prepared->rows;
  if (question->feature.size() != dim * sizeof(float)) return std::nullopt;
  thread_local std::vector<float> feature, query, scores;
  thread_local std::vector<std::uint32_t> admitted;
  feature.resize(dim);
  std::memcpy(feature.data(), question->feature.data(), dim * sizeof(float));
  query.assign(prepared->width, 0.0F);
  if (!UnitVector(feature.data(), dim, query.data())) return std::nullopt;
  admitted.clear();
  if (!Admit(*prepared, *question, &admitted) || admitted.empty()) return std::nullopt;
  scores.resize(rows);
  kernels_.inner_products(scores.data(), query.data(), prepared->whole, prepared->width, rows);
  const std::size_t count = std::min<std::size_t>(admitted.size(), question->limit);
  std::partial_sort(admitted.begin(), admitted.begin() + static_cast<std::ptrdiff_t>(count), admitted.end(),
                    [](std::uint32_t left, std::uint32_t right) {
                      return scores[left] != scores[right] ? scores[left] > scores[right] : left < right;
                    });
  thread_local std::vector<float> best;
  thread_local std::vector<double> means, spreads, things, relevances, of_stream;
  best.resize(count), means.resize(count), spreads.resize(count), things.resize(count), relevances.resize(count);
  of_stream.assign(prepared->streams.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t place = 0; place < count; ++place) {
    const std::uint32_t stream = prepared->stream[admitted[place]];
    const Null& null = prepared->streams[stream];
    if (std::isnan(of_stream[stream])) of_stream[stream] = DotByPairs(null.mean.data(), query.data(), dim);
    best[place] = scores[admitted[place]];
    means[place] = of_stream[stream];
    spreads[place] = null.spread;
    things[place] = null.things;
  }
  Relevances(kernels_, best.data(), means.data(), spreads.data(), things.data(), count, relevances.data());
  std::string answer;
  std::size_t size = prepared->tail.size() + count * 32;
  for (std::size_t place = 0; place < count; ++place) size += prepared->hits[admitted[place]].size();
  if (size > kAnswerBytesMax) return std::nullopt;
  answer.reserve(size);
  for (std::size_t place = 0; place < count; ++place) {
    const std::string& clip = prepared->hits[admitted[place]];
    const double score = static_cast<double>(best[place]);
    const bool scored = score != 0.0 || std::signbit(score);
    answer.push_back(0x0a);  // hits
    PutVarint(&answer, clip.size() + (scored ? 9 : 0) + 9);
    answer += clip;
    if (scored) PutDouble(&answer, 0x11, score);
    PutDouble(&answer, 0x19, relevances[place]);
  }
  answer += prepared->tail;
  prepared->asked.store(true, std::memory_order_relaxed);
  answered_.fetch_add(1, std::memory_order_relaxed);
  return answer;
}

}  // namespace memdb_edge
