#include "products.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "clones.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace memdb_edge {

namespace {

constexpr std::size_t kBlock = 64;
constexpr int kWholeMax = 127 * 128;

struct Sums {
  std::int32_t high, low;
};

MEMDB_CLONES Sums PlainSums(const std::uint8_t* row, const std::int8_t* high, const std::int8_t* low,
                            std::size_t count) {
  std::int32_t high_sum = 0, low_sum = 0;
  for (std::size_t place = 0; place < count; ++place) {
    high_sum += static_cast<std::int32_t>(row[place]) * high[place];
    low_sum += static_cast<std::int32_t>(row[place]) * low[place];
  }
  return {high_sum, low_sum};
}

MEMDB_CLONES float PlainHead(const std::uint16_t* head, const float* vector, std::size_t width) {
  float part[16] = {};
  for (std::size_t begin = 0; begin < width; begin += 16) {
    for (std::size_t lane = 0; lane < 16; ++lane) {
      const std::uint32_t bits = static_cast<std::uint32_t>(head[begin + lane]) << 16;
      float value;
      std::memcpy(&value, &bits, 4);
      part[lane] += value * vector[begin + lane];
    }
  }
  float sum = 0.0F;
  for (const float lane : part) sum += lane;
  return sum;
}

MEMDB_CLONES double SquaredLength(const float* values, std::size_t count) {
  double part[8] = {};
  std::size_t place = 0;
  for (; place + 8 <= count; place += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) part[lane] += static_cast<double>(values[place + lane]) * values[place + lane];
  }
  double sum = 0.0;
  for (; place < count; ++place) sum += static_cast<double>(values[place]) * values[place];
  for (const double lane : part) sum += lane;
  return sum;
}

MEMDB_CLONES void PlainJoin(const std::uint16_t* head, const std::int16_t* tail, std::size_t width,
                            std::uint32_t* out) {
  for (std::size_t place = 0; place < width; ++place) {
    out[place] = (static_cast<std::uint32_t>(head[place]) << 16) + static_cast<std::uint32_t>(std::int32_t{tail[place]});
  }
}

// Values as whole numbers of so many steps; their sums.
MEMDB_CLONES Sums Split(const float* values, std::size_t count, float inverse, std::int8_t* high, std::int8_t* low) {
  std::int32_t high_sum = 0, low_sum = 0;
  for (std::size_t place = 0; place < count; ++place) {
    const float scaled = values[place] * inverse;
    std::int32_t whole = static_cast<std::int32_t>(scaled + (scaled < 0 ? -0.5F : 0.5F));
    whole = whole > kWholeMax ? kWholeMax : whole < -kWholeMax ? -kWholeMax : whole;
    const std::int32_t upper = (whole + 64) >> 7, lower = whole - 128 * upper;
    high[place] = static_cast<std::int8_t>(upper);
    low[place] = static_cast<std::int8_t>(lower);
    high_sum += upper;
    low_sum += lower;
  }
  return {high_sum, low_sum};
}

// By bits, of which those without a sign are in the order of the numbers: the compiler makes vectors of that.
MEMDB_CLONES float LargestOf(const float* values, std::size_t count) {
  std::int32_t largest = 0;
  for (std::size_t place = 0; place < count; ++place) {
    std::int32_t bits;
    std::memcpy(&bits, values + place, sizeof(bits));
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  float magnitude;
  std::memcpy(&magnitude, &largest, sizeof(magnitude));
  return magnitude;
}

#if defined(__x86_64__)

// The same with instructions for just that.  The compiler's own headers leave on purpose what it warns of.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
__attribute__((target("avx512f,avx512bw,avx512vnni"))) Sums WideSums(const std::uint8_t* row, const std::int8_t* high,
                                                                     const std::int8_t* low, std::size_t count) {
  __m512i high_sum = _mm512_setzero_si512(), low_sum = _mm512_setzero_si512();
  std::size_t place = 0;
  for (; place + kBlock <= count; place += kBlock) {
    const __m512i bytes = _mm512_loadu_si512(row + place);
    high_sum = _mm512_dpbusd_epi32(high_sum, bytes, _mm512_loadu_si512(high + place));
    low_sum = _mm512_dpbusd_epi32(low_sum, bytes, _mm512_loadu_si512(low + place));
  }
  if (place < count) {
    const __m512i bytes = _mm512_maskz_loadu_epi8((std::uint64_t{1} << (count - place)) - 1, row + place);
    high_sum = _mm512_dpbusd_epi32(high_sum, bytes, _mm512_loadu_si512(high + place));
    low_sum = _mm512_dpbusd_epi32(low_sum, bytes, _mm512_loadu_si512(low + place));
  }
  return {_mm512_reduce_add_epi32(high_sum), _mm512_reduce_add_epi32(low_sum)};
}

__attribute__((target("avx512f"))) float WideHead(const std::uint16_t* head, const float* vector, std::size_t width) {
  __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
  std::size_t begin = 0;
  const auto values = [head](std::size_t place) __attribute__((target("avx512f"))) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(head + place));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  };
  for (; begin + 64 <= width; begin += 64) {
    for (std::size_t part = 0; part < 4; ++part) {
      const std::size_t place = begin + 16 * part;
      sums[part] = _mm512_fmadd_ps(values(place), _mm512_loadu_ps(vector + place), sums[part]);
    }
  }
  for (; begin < width; begin += 16) {
    sums[0] = _mm512_fmadd_ps(values(begin), _mm512_loadu_ps(vector + begin), sums[0]);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

#pragma GCC diagnostic pop

bool IsWide() {
  static const bool is_wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                              __builtin_cpu_supports("avx512vnni");
  return is_wide;
}

#endif

}  // namespace

void Weights::Take(const float* values, std::size_t count) {
  count_ = count;
  const std::size_t room = (count + kBlock - 1) / kBlock * kBlock;
  high_.assign(room, 0), low_.assign(room, 0);
  step_ = std::max(LargestOf(values, count) / kWholeMax, 1e-30F);
  const Sums sums = Split(values, count, 1.0F / step_, high_.data(), low_.data());
  high_sum_ = sums.high, low_sum_ = sums.low;
  slack_ = step_ * kCodeZero * static_cast<float>(count) / 2;
}

void Products(const std::uint8_t* rows, std::size_t count, const Weights& weights, float* out, bool plain) {
  const std::size_t width = weights.count_;
  const std::int8_t *high = weights.high_.data(), *low = weights.low_.data();
  auto* sums_of = &PlainSums;
#if defined(__x86_64__)
  if (IsWide() && !plain) sums_of = &WideSums;
#endif
  for (std::size_t row = 0; row < count; ++row) {
    const Sums sums = sums_of(rows + row * width, high, low, width);
    const auto high_sum = static_cast<float>(sums.high - kCodeZero * weights.high_sum_);
    out[row] = (128.0F * high_sum + static_cast<float>(sums.low - kCodeZero * weights.low_sum_)) * weights.step_;
  }
}

double Weights::away() const {
  // Half a step each, and what rounding does to a quotient of at most kWholeMax.
  return 0.51 * static_cast<double>(step_) * std::sqrt(static_cast<double>(count_));
}

double WholeProduct(const std::uint8_t* row, const Weights& weights, bool plain) {
  auto* sums_of = &PlainSums;
#if defined(__x86_64__)
  if (IsWide() && !plain) sums_of = &WideSums;
#endif
  const Sums sums = sums_of(row, weights.high_.data(), weights.low_.data(), weights.count_);
  const std::int64_t high = sums.high - std::int64_t{kCodeZero} * weights.high_sum_;
  const std::int64_t low = sums.low - std::int64_t{kCodeZero} * weights.low_sum_;
  return static_cast<double>(128 * high + low) * static_cast<double>(weights.step_);
}

float Largest(const float* values, std::size_t count) { return LargestOf(values, count); }

double Length(const float* values, std::size_t count) { return std::sqrt(SquaredLength(values, count)); }

float HeadProduct(const std::uint16_t* head, const float* vector, std::size_t width, bool plain) {
#if defined(__x86_64__)
  if (IsWide() && !plain) return WideHead(head, vector, width);
#endif
  return PlainHead(head, vector, width);
}

void Join(const std::uint16_t* head, const std::int16_t* tail, std::size_t width, float* out) {
  PlainJoin(head, tail, width, reinterpret_cast<std::uint32_t*>(out));
}

}  // namespace memdb_edge
