// Rows of few, a byte an element: by it most of them are known not to be among the best and are never read.
//
// For a row x with code x', a query q and the query q' that codes are multiplied with,
//
//     |q.x - q'.x'|  <=  |q| |x - x'| + |q - q'| |x'|        (Cauchy and Schwarz, twice)
//
// and a sum in float32, in whatever order, is at most n 2^-24 |q| |x| from the product, and what is below the smallest
// normal number.  Rows that this leaves are scored by the same function as all would be, so that nothing of an answer
// depends on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "products.h"

namespace memdb_edge {

// What is told of a row beside its code; infinite `error`: nothing is.
struct Measure {
  float step;    // of the code: a byte b says (b - kCodeZero) * step
  float error;   // |x - x'| is no larger
  float length;  // |x| and |x'| are no larger
};

// Codes of rows; memory of somebody else.
struct Sketch {
  const std::uint8_t* codes = nullptr;  // (rows, width)
  const Measure* measures = nullptr;    // (rows,)

  bool is_there() const { return codes != nullptr; }
};

// Write the codes and measures of (count, width) rows.
void MakeSketch(const float* rows, std::size_t count, std::size_t width, std::uint8_t* codes, Measure* measures);

// Products of rows and how far they may be from what a kernel finds.
struct Near {
  std::vector<double> products, bounds;  // (admitted,)
};

// Of some rows, ascending; false where nothing can be told of one of them.
bool FindNear(const Sketch& sketch, std::size_t width, const float* query, const std::vector<std::uint32_t>& admitted,
              Near* near, bool plain = false);

}  // namespace memdb_edge
