#include "arithmetic.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "clones.h"
#include "products.h"

namespace memdb_edge {

namespace {

constexpr double kCentreShare = 0.7;                    // memdb/engine/relevance.py
constexpr double kLogistic = 3.141592653589793 / 1.7320508075688772;
constexpr double kLogOfTwo = 0.693147180559945309417232121458176568;
constexpr std::size_t kLanes = 8;
constexpr std::size_t kTogether = 128;

// Sums of every eighth value, of at least eight; `count` a multiple of it. In vectors, since these are eight sums beside
// each other, each in its order.
MEMDB_WIDE_CLONES void SumLanes(const float* values, std::size_t count, float* part) {
  using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
  Lanes sums, next;
  std::memcpy(&sums, values, sizeof(sums));
  for (std::size_t place = kLanes; place < count; place += kLanes) {
    std::memcpy(&next, values + place, sizeof(next));
    sums += next;
  }
  std::memcpy(part, &sums, sizeof(sums));
}

MEMDB_WIDE_CLONES void SumLanes(const double* values, std::size_t count, double* part) {
  using Lanes = double __attribute__((vector_size(kLanes * sizeof(double))));
  Lanes sums, next;
  std::memcpy(&sums, values, sizeof(sums));
  for (std::size_t place = kLanes; place < count; place += kLanes) {
    std::memcpy(&next, values + place, sizeof(next));
    sums += next;
  }
  std::memcpy(part, &sums, sizeof(sums));
}

// numpy's sum of a contiguous array (pairwise, in blocks of 128, eight at a time): the same order, the same sum.
template <typename T>
T SumByPairs(const T* values, std::size_t count) {
  if (count < kLanes) {
    T sum = T(-0.0);
    for (std::size_t place = 0; place < count; ++place) sum += values[place];
    return sum;
  }
  if (count <= kTogether) {
    T part[kLanes];
    std::size_t place = count - count % kLanes;
    SumLanes(values, place, part);
    T sum = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    for (; place < count; ++place) sum += values[place];
    return sum;
  }
  std::size_t half = count / 2;
  half -= half % kLanes;
  return SumByPairs(values, half) + SumByPairs(values + half, count - half);
}

MEMDB_WIDE_CLONES void DivideAll(const float* values, std::size_t count, float by, float* __restrict out,
                                 float* __restrict squares) {
  for (std::size_t place = 0; place < count; ++place) {
    out[place] = values[place] / by;
    squares[place] = out[place] * out[place];
  }
}

MEMDB_WIDE_CLONES void DivideAll(float* values, std::size_t count, float by) {
  for (std::size_t place = 0; place < count; ++place) values[place] /= by;
}

MEMDB_WIDE_CLONES void Multiply(const double* left, const float* right, std::size_t count, double* __restrict out) {
  for (std::size_t place = 0; place < count; ++place) out[place] = left[place] * static_cast<double>(right[place]);
}

double LogOfSum(double other) {  // numpy.logaddexp(0.0, other)
  if (other == 0.0) return kLogOfTwo;
  const double apart = 0.0 - other;
  if (apart > 0) return 0.0 + std::log1p(std::exp(-apart));
  if (apart <= 0) return other + std::log1p(std::exp(apart));
  return apart;
}

}  // namespace

bool UnitVector(const float* vector, std::size_t dim, float* out) {
  const float largest = Largest(vector, dim);
  if (!(largest <= std::numeric_limits<float>::max()) || largest == 0.0F) return false;
  thread_local std::vector<float> squares;
  squares.resize(dim);
  DivideAll(vector, dim, largest, out, squares.data());
  DivideAll(out, dim, std::sqrt(SumByPairs(squares.data(), dim)));
  return true;
}

double DotByPairs(const double* left, const float* right, std::size_t dim) {
  thread_local std::vector<double> products;
  products.resize(dim);
  Multiply(left, right, dim, products.data());
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

}  // namespace memdb_edge
