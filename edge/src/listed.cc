#include "listed.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <utility>

#include "products.h"

namespace memdb_edge {

namespace {

// memdb/index/ivf.py
constexpr std::size_t kLimitMeasured = 10;
constexpr double kListsShareMax = 0.25;
constexpr std::size_t kListsExtra = 8;
constexpr double kFine = 254.0;  // memdb/index/nearby.py
constexpr std::size_t kBoundBytes = 2;
constexpr std::size_t kMissingMax = 1024;
constexpr std::size_t kSamplesMax = 8;
constexpr double kUnitRoundoff = 1.0 / (1 << 24);
constexpr std::size_t kLineBytes = 64;

struct Candidate {
  float bound;
  std::uint32_t row;
};

bool IsHigher(const Candidate& left, const Candidate& right) { return left.bound > right.bound; }

// Of many candidates those of the highest bounds.
class Highest {
 public:
  void Begin(std::size_t wanted) {
    wanted_ = wanted;
    chosen_.clear();
    chosen_.reserve(2 * wanted + 1);
    least_ = -std::numeric_limits<float>::infinity();
  }
  void Add(float bound, std::uint32_t row) {
    if (!(bound > least_)) return;
    chosen_.push_back({bound, row});
    if (chosen_.size() > 2 * wanted_) Cut();
  }
  float least() const { return least_; }
  // Best first.
  const std::vector<Candidate>& End() {
    if (chosen_.size() > wanted_) Cut();
    std::sort(chosen_.begin(), chosen_.end(), IsHigher);
    return chosen_;
  }

 private:
  void Cut() {
    const auto last = chosen_.begin() + static_cast<std::ptrdiff_t>(wanted_) - 1;
    std::nth_element(chosen_.begin(), last, chosen_.end(), IsHigher);
    least_ = last->bound;
    chosen_.resize(wanted_);
  }

  std::size_t wanted_ = 0;
  std::vector<Candidate> chosen_;
  float least_ = 0.0F;
};

// What a thread works with.
struct Scratch {
  std::vector<float> vector, query, places, products, block, scores, leasts;
  std::vector<Candidate> order, heads;
  std::vector<double> means, spreads, things;
  Weights weights;
  Highest highest;
};

const Chunk& ChunkOf(const Listed& listed, std::size_t row) {
  const auto behind = std::upper_bound(listed.chunks.begin(), listed.chunks.end(), row,
                                       [](std::size_t wanted, const Chunk& chunk) { return wanted < chunk.first; });
  return *std::prev(behind);
}

const std::uint16_t* HeadOf(const Listed& listed, std::size_t row) {
  const Chunk& chunk = ChunkOf(listed, row);
  return chunk.head + (row - chunk.first) * listed.width;
}

const std::int16_t* TailOf(const Listed& listed, std::size_t row) {
  const Chunk& chunk = ChunkOf(listed, row);
  return chunk.tail + (row - chunk.first) * listed.width;
}

// What will be read soon, a line at a time.
template <typename T>
void Prefetch(const T* values, std::size_t count) {
  for (std::size_t place = 0; place < count; place += kLineBytes / sizeof(T)) __builtin_prefetch(values + place);
}

// `Nearby.weights`: (code_bytes,) floats.
void WeighQuery(const Listed& listed, Scratch* scratch) {
  const std::size_t directions = listed.code_bytes - kBoundBytes;
  const double length = Length(scratch->query.data(), listed.width);
  scratch->weights.Take(scratch->query.data(), listed.width);
  scratch->places.resize(listed.code_bytes);
  float* places = scratch->places.data();
  Products(listed.directions, directions, scratch->weights, places);
  for (std::size_t place = 0; place < directions; ++place) places[place] *= listed.direction_steps[place];
  const double inside = Length(places, directions);
  for (std::size_t place = 0; place < directions; ++place) places[place] *= listed.steps[place];
  places[directions] = static_cast<float>(std::sqrt(std::max(length * length - inside * inside, 0.0)) * listed.bound_step);
  places[directions + 1] = static_cast<float>(inside * listed.bound_step);
}

// `Nearby.nearest`: the lists in scratch->order, the first `count` of them the nearest ones in order.
void OrderLists(const Listed& listed, Scratch* scratch) {
  const std::size_t directions = listed.code_bytes - kBoundBytes;
  thread_local std::vector<float> weights;
  weights = scratch->places;
  weights[directions] = listed.by_distance ? static_cast<float>(-listed.half_step) : 0.0F;
  weights[directions + 1] = static_cast<float>(weights[directions] / kFine);
  scratch->weights.Take(weights.data(), weights.size());
  scratch->products.resize(listed.lists);
  Products(listed.centres, listed.lists, scratch->weights, scratch->products.data());
  scratch->order.resize(listed.lists);
  for (std::size_t list = 0; list < listed.lists; ++list) {
    scratch->order[list] = {scratch->products[list], static_cast<std::uint32_t>(list)};
  }
}

std::size_t RowsOf(const Listed& listed, std::uint32_t list) {
  const std::int64_t begin = listed.offsets[list], end = listed.offsets[list + 1];
  if (listed.alive == nullptr) return static_cast<std::size_t>(end - begin);
  std::size_t rows = 0;
  for (std::int64_t place = begin; place < end; ++place) rows += listed.alive[listed.numbers[place]] != 0;
  return rows;
}

// Puts the lists that are to be read first in scratch->order and says how many they are and how many rows they have;
// false where they would be too many.
bool ChooseLists(const Listed& listed, double more, Scratch* scratch, std::size_t* count, std::size_t* rows) {
  const auto least = static_cast<std::size_t>(std::ceil(static_cast<double>(listed.lists_wanted) * more));
  const auto share = static_cast<std::size_t>(static_cast<double>(listed.lists) * kListsShareMax);
  const std::size_t most = std::max<std::size_t>(1, share);
  const double needed = static_cast<double>(listed.lists_wanted) * more * static_cast<double>(listed.listed_rows) /
                        static_cast<double>(listed.lists) * listed.alive_share;
  OrderLists(listed, scratch);
  auto& order = scratch->order;
  std::size_t ordered = 0;
  const auto have = [&order, &ordered](std::size_t wanted) {
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(wanted), order.end(), IsHigher);
    ordered = wanted;
  };
  have(std::min(most, 2 * least + kListsExtra));
  if (least > ordered) return false;
  std::size_t taken = 0;
  *rows = 0;
  const auto take = [&](std::size_t until) {
    for (; taken < until; ++taken) *rows += RowsOf(listed, order[taken].row);
  };
  take(least);
  while (static_cast<double>(*rows) < needed) {
    if (taken == most) return false;
    if (taken == ordered) have(most);
    const double growth = std::min(needed / static_cast<double>(std::max<std::size_t>(*rows, 1)), 2.0);
    const auto until = static_cast<std::size_t>(std::ceil(static_cast<double>(taken) * growth));
    take(std::min(ordered, std::max(taken + 1, until)));
  }
  *count = taken;
  return true;
}

// The rows of the highest bounds, of some lists and of those that came since.
const std::vector<Candidate>& Bound(const Listed& listed, std::size_t lists, std::size_t wanted, Scratch* scratch) {
  scratch->weights.Take(scratch->places.data(), listed.code_bytes);
  Highest& highest = scratch->highest;
  highest.Begin(wanted);
  auto& products = scratch->products;
  for (std::size_t place = 0; place < lists; ++place) {
    const std::uint32_t list = scratch->order[place].row;
    const auto begin = static_cast<std::size_t>(listed.offsets[list]);
    const std::size_t count = static_cast<std::size_t>(listed.offsets[list + 1]) - begin;
    products.resize(count);
    Products(listed.codes + begin * listed.code_bytes, count, scratch->weights, products.data());
    for (std::size_t its = 0; its < count; ++its) {
      if (!(products[its] > highest.least())) continue;
      const auto row = static_cast<std::uint32_t>(listed.numbers[begin + its]);
      if (listed.alive == nullptr || listed.alive[row]) highest.Add(products[its], row);
    }
  }
  for (const LaterCodes& later : listed.later) {
    products.resize(later.rows);
    Products(later.codes, later.rows, scratch->weights, products.data());
    for (std::size_t its = 0; its < later.rows; ++its) {
      const auto row = static_cast<std::uint32_t>(later.first + its);
      if (listed.alive == nullptr || listed.alive[row]) highest.Add(products[its], row);
    }
  }
  return highest.End();
}

// Rows that may be among the best, by their heads: of the candidates, and of those of which no code tells.
class ByHeads {
 public:
  ByHeads(const Listed& listed, std::size_t limit, Scratch* scratch) : listed_(listed), limit_(limit), scratch_(scratch) {
    // What a head leaves out of a row, and what two sums may be apart.
    const double rounding = 2.0 * static_cast<double>(listed.width) * kUnitRoundoff * listed.norm_max;
    const double length = Length(scratch->query.data(), listed.width);
    margin_ = static_cast<float>(length * (listed.residual_max + rounding) * (1 + kUnitRoundoff)) + 1e-30F;
    scratch_->leasts.clear();
    scratch_->heads.clear();
  }

  void Add(std::uint32_t row, const std::uint16_t* head) {
    const float score = HeadProduct(head, scratch_->query.data(), listed_.width);
    auto& leasts = scratch_->leasts;
    const float least = score - margin_;
    if (leasts.size() < limit_) {
      leasts.push_back(least);
      std::push_heap(leasts.begin(), leasts.end(), std::greater<>());
    } else if (least > leasts.front()) {
      std::pop_heap(leasts.begin(), leasts.end(), std::greater<>());
      leasts.back() = least;
      std::push_heap(leasts.begin(), leasts.end(), std::greater<>());
    } else if (score + margin_ < leasts.front()) {
      return;
    }
    scratch_->heads.push_back({score, row});
  }
  // Whether a row that scores no more than that may be among the best.
  bool Reaches(float bound) const { return scratch_->leasts.size() < limit_ || bound >= scratch_->leasts.front(); }
  // The rows that may.
  const std::vector<Candidate>& End() {
    auto& heads = scratch_->heads;
    const auto behind = std::remove_if(heads.begin(), heads.end(),
                                       [this](const Candidate& one) { return !Reaches(one.bound + margin_); });
    heads.erase(behind, heads.end());
    return heads;
  }

 private:
  const Listed& listed_;
  const std::size_t limit_;
  Scratch* const scratch_;
  float margin_ = 0.0F;
};

void LookAtHeads(const Listed& listed, const std::vector<Candidate>& candidates, float slack, ByHeads* by_heads) {
  const auto add = [&](std::size_t row) {
    if (listed.alive == nullptr || listed.alive[row]) by_heads->Add(static_cast<std::uint32_t>(row), HeadOf(listed, row));
  };
  for (const std::uint32_t row : listed.unbounded) add(row);
  for (std::size_t row = listed.coded; row < listed.rows; ++row) add(row);
  const std::uint16_t* next = candidates.empty() ? nullptr : HeadOf(listed, candidates[0].row);
  for (std::size_t place = 0; place < candidates.size(); ++place) {
    const Candidate& candidate = candidates[place];
    if (!by_heads->Reaches(candidate.bound + slack)) break;
    const std::uint16_t* head = next;
    if (place + 1 < candidates.size()) {
      next = HeadOf(listed, candidates[place + 1].row);
      Prefetch(next, listed.width);
    }
    if (!std::binary_search(listed.unbounded.begin(), listed.unbounded.end(), candidate.row)) {
      by_heads->Add(candidate.row, head);
    }
  }
}

// The best of some rows by their whole rows; false where there are too few of them.
bool ScoreWhole(const Kernels& kernels, const Listed& listed, const std::vector<Candidate>& rows, std::size_t limit,
                Scratch* scratch, ListedHits* hits) {
  if (rows.size() < limit) return false;
  scratch->block.resize(rows.size() * listed.width);
  scratch->scores.resize(rows.size());
  for (std::size_t place = 0; place < rows.size(); ++place) {
    if (place + 1 < rows.size()) Prefetch(TailOf(listed, rows[place + 1].row), listed.width);
    const Chunk& chunk = ChunkOf(listed, rows[place].row);
    const std::size_t begin = (rows[place].row - chunk.first) * listed.width;
    Join(chunk.head + begin, chunk.tail + begin, listed.width, scratch->block.data() + place * listed.width);
  }
  kernels.inner_products(scratch->scores.data(), scratch->query.data(), scratch->block.data(), listed.width, rows.size());
  auto& order = scratch->order;
  order.clear();
  for (std::size_t place = 0; place < rows.size(); ++place) order.push_back({scratch->scores[place], rows[place].row});
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(limit), order.end(),
                    [](const Candidate& left, const Candidate& right) {
                      return left.bound != right.bound ? left.bound > right.bound : left.row < right.row;
                    });
  hits->rows.resize(limit), hits->scores.resize(limit);
  for (std::size_t place = 0; place < limit; ++place) {
    hits->rows[place] = order[place].row;
    hits->scores[place] = order[place].bound;
  }
  return true;
}

// False where something of a stream is not known.
bool TellRelevances(const Kernels& kernels, const Listed& listed, Scratch* scratch, ListedHits* hits) {
  const std::size_t count = hits->rows.size();
  scratch->means.resize(count), scratch->spreads.resize(count), scratch->things.resize(count);
  hits->relevances.resize(count);
  thread_local std::vector<double> of_stream;
  of_stream.assign(listed.streams.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t place = 0; place < count; ++place) {
    const std::uint32_t number = listed.stream_no[hits->rows[place]];
    const auto found = std::lower_bound(listed.streams.begin(), listed.streams.end(), number,
                                        [](const auto& stream, std::uint32_t wanted) { return stream.first < wanted; });
    if (found == listed.streams.end() || found->first != number) return false;
    const Null& null = found->second;
    double& mean = of_stream[static_cast<std::size_t>(found - listed.streams.begin())];
    if (std::isnan(mean)) mean = DotByPairs(null.mean.data(), scratch->query.data(), listed.dim);
    scratch->means[place] = mean;
    scratch->spreads[place] = null.spread;
    scratch->things[place] = null.things;
  }
  Relevances(kernels, hits->scores.data(), scratch->means.data(), scratch->spreads.data(), scratch->things.data(), count,
             hits->relevances.data());
  return true;
}

}  // namespace

void Listed::NoteMissing(const std::vector<std::uint32_t>& rows) const {
  std::lock_guard lock(noted_mutex);
  for (const std::uint32_t row : rows) {
    if (missing.size() < kMissingMax) missing.push_back(row);
  }
}

std::vector<std::uint32_t> Listed::TakeMissing() const {
  std::lock_guard lock(noted_mutex);
  return std::exchange(missing, {});
}

void Listed::NoteSample(const char* feature, const std::vector<float>& scores) const {
  std::vector<float> asked(dim);
  std::memcpy(asked.data(), feature, dim * sizeof(float));
  std::lock_guard lock(noted_mutex);
  if (samples.size() < kSamplesMax) samples.emplace_back(std::move(asked), scores);
}

std::vector<std::pair<std::vector<float>, std::vector<float>>> Listed::TakeSamples() const {
  std::lock_guard lock(noted_mutex);
  return std::exchange(samples, {});
}

bool SearchListed(const Kernels& kernels, const Listed& listed, const char* feature, std::size_t limit, ListedHits* hits) {
  thread_local Scratch scratch;
  scratch.vector.resize(listed.dim);
  std::memcpy(scratch.vector.data(), feature, listed.dim * sizeof(float));
  scratch.query.assign(listed.width, 0.0F);
  if (!UnitVector(scratch.vector.data(), listed.dim, scratch.query.data())) return false;
  const double more = std::max(1.0, static_cast<double>(limit) / kLimitMeasured);
  WeighQuery(listed, &scratch);
  std::size_t lists, rows;
  if (!ChooseLists(listed, more, &scratch, &lists, &rows)) return false;
  for (const LaterCodes& later : listed.later) rows += later.rows;
  const auto wanted = std::min(static_cast<std::size_t>(static_cast<double>(listed.candidates) * more), rows);
  const auto& candidates = Bound(listed, lists, std::max<std::size_t>(wanted, 1), &scratch);
  ByHeads by_heads(listed, limit, &scratch);
  LookAtHeads(listed, candidates, scratch.weights.slack(), &by_heads);
  return ScoreWhole(kernels, listed, by_heads.End(), limit, &scratch, hits) &&
         TellRelevances(kernels, listed, &scratch, hits);
}

}  // namespace memdb_edge
