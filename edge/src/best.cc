#include "best.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace memdb_edge {

namespace {

constexpr std::size_t kSketchedMin = 24;  // of fewer rows all are scored sooner
constexpr std::size_t kLine = 64;

// Ask for memory, so that it comes while something else is done.
void Ahead(const void* memory, std::size_t bytes) {
  for (std::size_t place = 0; place < bytes; place += kLine) {
    __builtin_prefetch(static_cast<const char*>(memory) + place, 0, 2);
  }
}

// Score rows one by one.
void ScoreRows(const Kernels& kernels, const Prepared& prepared, const float* query, const std::uint32_t* rows,
               std::size_t count, float* scores) {
  const std::size_t width = prepared.width;
  for (std::size_t place = 0; place < count; ++place) Ahead(prepared.whole + rows[place] * width, width * sizeof(float));
  for (std::size_t place = 0; place < count; ++place) {
    const std::size_t row = rows[place];
    kernels.inner_products(scores + row, query, prepared.whole + row * width, width, 1);
  }
}

// Those of the admitted rows that may be among the `count` best, scored; false where all are to be.
bool ScoreBest(const Kernels& kernels, const Prepared& prepared, const float* query, std::size_t count,
               const std::vector<std::uint32_t>& admitted, float* scores, std::vector<std::uint32_t>* rows) {
  const std::size_t all = admitted.size();
  if (!prepared.sketch.is_there() || all < kSketchedMin || 2 * count > all || count == 0) return false;
  thread_local Near near;
  thread_local std::vector<std::uint32_t> order;  // places among the admitted
  if (!FindNear(prepared.sketch, prepared.width, query, admitted, &near)) return false;
  order.resize(all);
  std::iota(order.begin(), order.end(), 0U);
  const auto behind = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(order.begin(), behind - 1, order.end(),
                   [](std::uint32_t left, std::uint32_t right) { return near.products[left] > near.products[right]; });
  rows->clear();
  for (auto place = order.begin(); place != behind; ++place) rows->push_back(admitted[*place]);
  ScoreRows(kernels, prepared, query, rows->data(), count, scores);
  double least = std::numeric_limits<double>::infinity();
  for (const std::uint32_t row : *rows) least = std::min(least, static_cast<double>(scores[row]));
  // So many are at least as good: who cannot reach the last of them is not among the best, nor as good as one of them.
  for (auto place = behind; place != order.end(); ++place) {
    if (near.products[*place] + near.bounds[*place] >= least) rows->push_back(admitted[*place]);
  }
  ScoreRows(kernels, prepared, query, rows->data() + count, rows->size() - count, scores);
  return true;
}

}  // namespace

bool Search(const Kernels& kernels, const Prepared& prepared, const char* feature, std::uint64_t limit,
            const std::vector<std::uint32_t>& admitted, Found* found) {
  thread_local std::vector<float> vector, query, scores;
  thread_local std::vector<double> means, spreads, things, of_stream;
  vector.resize(prepared.dim);
  std::memcpy(vector.data(), feature, prepared.dim * sizeof(float));
  query.assign(prepared.width, 0.0F);
  if (!UnitVector(vector.data(), prepared.dim, query.data())) return false;
  scores.resize(prepared.rows);
  const std::size_t count = std::min<std::size_t>(admitted.size(), limit);
  if (!ScoreBest(kernels, prepared, query.data(), count, admitted, scores.data(), &found->rows)) {
    kernels.inner_products(scores.data(), query.data(), prepared.whole, prepared.width, prepared.rows);
    found->rows = admitted;
  }
  std::partial_sort(found->rows.begin(), found->rows.begin() + static_cast<std::ptrdiff_t>(count), found->rows.end(),
                    [](std::uint32_t left, std::uint32_t right) {
                      return scores[left] != scores[right] ? scores[left] > scores[right] : left < right;
                    });
  found->rows.resize(count), found->scores.resize(count), found->relevances.resize(count);
  means.resize(count), spreads.resize(count), things.resize(count);
  of_stream.assign(prepared.streams.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t place = 0; place < count; ++place) {
    const std::uint32_t row = found->rows[place], stream = prepared.stream[row];
    const Null& null = prepared.streams[stream];
    if (std::isnan(of_stream[stream])) of_stream[stream] = DotByPairs(null.mean.data(), query.data(), prepared.dim);
    found->scores[place] = scores[row];
    means[place] = of_stream[stream];
    spreads[place] = null.spread;
    things[place] = null.things;
  }
  Relevances(kernels, found->scores.data(), means.data(), spreads.data(), things.data(), count,
             found->relevances.data());
  return true;
}

}  // namespace memdb_edge
