// The best of few rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "arithmetic.h"
#include "shelf.h"

namespace memdb_edge {

// The best of some rows, best first, equal scores by row.
struct Found {
  std::vector<std::uint32_t> rows;
  std::vector<float> scores;
  std::vector<double> relevances;
};

// The `limit` best of the admitted rows. feature: dim float32 elements at any place; false where it is no direction.
bool Search(const Kernels& kernels, const Prepared& prepared, const char* feature, std::uint64_t limit,
            const std::vector<std::uint32_t>& admitted, Found* found);

}  // namespace memdb_edge
