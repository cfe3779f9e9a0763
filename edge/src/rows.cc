#include "rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "arithmetic.h"
#include "clones.h"
#include "products.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace memdb_edge {

namespace {

constexpr std::uint32_t kHalf = 0x8000, kHead = 0xFFFF0000;

MEMDB_WIDE_CLONES void PlainWiden(const std::uint16_t* halves, std::size_t count, float* out) {
  for (std::size_t place = 0; place < count; ++place) {
    const std::uint32_t half = halves[place], magnitude = half & 0x7FFF;
    // The exponent's bias is 127 in the place of 15; of what is not finite it stays all ones.
    std::uint32_t bits = (magnitude << 13) + (112U << 23) + (magnitude >= 0x7C00 ? 112U << 23 : 0);
    const float small = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F;
    std::uint32_t small_bits;
    std::memcpy(&small_bits, &small, sizeof(small_bits));
    bits = (magnitude < 0x400 ? small_bits : bits) | (half & 0x8000) << 16;
    std::memcpy(out + place, &bits, sizeof(bits));
  }
}

#if defined(__x86_64__)

__attribute__((target("avx,f16c"))) void WideWiden(const std::uint16_t* halves, std::size_t count, float* out) {
  std::size_t place = 0;
  for (; place + 8 <= count; place += 8) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + place));
    _mm256_storeu_ps(out + place, _mm256_cvtph_ps(bits));
  }
  for (; place < count; ++place) out[place] = _cvtsh_ss(halves[place]);
}

bool HasHalves() {
  static const bool has = __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c");
  return has;
}

#endif

MEMDB_WIDE_CLONES void SplitAll(const float* row, std::size_t count, std::uint16_t* __restrict head,
                                std::int16_t* __restrict tail, float* __restrict left) {
  for (std::size_t place = 0; place < count; ++place) {
    std::uint32_t bits;
    std::memcpy(&bits, row + place, sizeof(bits));
    // Half up; an element next to the largest float32 becomes infinite in its head alone.
    const std::uint32_t whole = (bits + kHalf) & kHead;
    head[place] = static_cast<std::uint16_t>(whole >> 16);
    tail[place] = static_cast<std::int16_t>(bits - whole);
    float rounded;
    std::memcpy(&rounded, &whole, sizeof(rounded));
    left[place] = row[place] - rounded;
  }
}

}  // namespace

void Widen(const std::uint16_t* halves, std::size_t count, float* out, bool plain) {
#if defined(__x86_64__)
  if (HasHalves() && !plain) return WideWiden(halves, count, out);
#endif
  PlainWiden(halves, count, out);
}

bool UnitRow(const float* row, std::size_t dim, float* out) {
  if (UnitVector(row, dim, out)) return true;
  if (Largest(row, dim) != 0.0F) return false;
  std::copy(row, row + dim, out);  // signs of zeros too
  return true;
}

bool UnitRow(const std::uint16_t* halves, std::size_t dim, float* out) {
  thread_local std::vector<float> row;
  row.resize(dim);
  Widen(halves, dim, row.data());
  return UnitRow(row.data(), dim, out);
}

void SplitRow(const float* row, std::size_t dim, std::size_t width, std::uint16_t* head, std::int16_t* tail,
              Lengths* longest) {
  thread_local std::vector<float> left;
  left.resize(dim);
  SplitAll(row, dim, head, tail, left.data());
  std::fill(head + dim, head + width, std::uint16_t{0});
  std::fill(tail + dim, tail + width, std::int16_t{0});
  longest->residual = std::max(longest->residual, Length(left.data(), dim));
  longest->row = std::max(longest->row, Length(row, dim));
}

}  // namespace memdb_edge
