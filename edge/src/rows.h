// Rows of an index as memdb/index/directions.py and memdb/index/planes.py make them, to the last bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace memdb_edge {

// float16 as float32; plain: as on a processor that has no instructions for it, for who compares them.
void Widen(const std::uint16_t* halves, std::size_t count, float* out, bool plain = false);
// A row of length 1, zeros of zeros; false of what is not finite.
bool UnitRow(const float* row, std::size_t dim, float* out);
bool UnitRow(const std::uint16_t* halves, std::size_t dim, float* out);

// What the heads of some rows leave out, and the rows: the greatest lengths.
struct Lengths {
  double residual = 0.0, row = 0.0;
};
// A row as two planes, padded with zeros to a width.
void SplitRow(const float* row, std::size_t dim, std::size_t width, std::uint16_t* head, std::int16_t* tail,
              Lengths* longest);

}  // namespace memdb_edge
