// Products of many rows with one vector, quick and not to the last bit: by them it is told which rows are worth reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace memdb_edge {

// The byte of code 0; memdb/index/basis.py.
constexpr int kCodeZero = 128;

// A vector as whole numbers of 14 bits, 128 * high + low each, times a step.
class Weights {
 public:
  void Take(const float* values, std::size_t count);
  // By how much the product with a row of bytes may be wrong.
  float slack() const { return slack_; }
  // The whole numbers are as a vector no farther than that from the one that was taken.
  double away() const;

 private:
  friend void Products(const std::uint8_t* rows, std::size_t count, const Weights& weights, float* out, bool plain);
  friend double WholeProduct(const std::uint8_t* row, const Weights& weights, bool plain);
  std::size_t count_ = 0;
  std::vector<std::int8_t> high_, low_;  // zeros behind, up to whole blocks
  std::int32_t high_sum_ = 0, low_sum_ = 0;
  float step_ = 0.0F;
  float slack_ = 0.0F;
};

// (count,) products of (count, weights' count) bytes, less kCodeZero each; plain: as on a processor that has no
// instructions for it, for who compares them.
void Products(const std::uint8_t* rows, std::size_t count, const Weights& weights, float* out, bool plain = false);
// That of one row, of the whole numbers exactly.
double WholeProduct(const std::uint8_t* row, const Weights& weights, bool plain = false);
// The largest magnitude of values; what is not finite counts as larger than all that is.
float Largest(const float* values, std::size_t count);
// Of a vector.
double Length(const float* values, std::size_t count);
// The product of a row of bfloat16 with a vector; width: a multiple of 16.
float HeadProduct(const std::uint16_t* head, const float* vector, std::size_t width, bool plain = false);
// The float32 row of two planes; memdb/index/planes.py.
void Join(const std::uint16_t* head, const std::int16_t* tail, std::size_t width, float* out);

}  // namespace memdb_edge
