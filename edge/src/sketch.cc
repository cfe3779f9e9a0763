#include "sketch.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "clones.h"

namespace memdb_edge {

namespace {

constexpr int kCodeMax = 127;
constexpr float kStepMin = 1e-30F;   // of smaller rows all is error
constexpr double kLengthMax = 1e15;  // beyond, sums in float32 may overflow
constexpr double kWiden = 1.0 + 1e-6;  // what float32 rounds away
constexpr double kRoundoff = 1.0 / (1 << 24);
constexpr double kSmallestNormal = std::numeric_limits<float>::min();
constexpr float kUnknown = std::numeric_limits<float>::infinity();
// Codes that are asked for ahead: a page or two, which the processor does not foresee by itself.
constexpr std::size_t kAhead = 4096;
constexpr std::size_t kLine = 64;

constexpr std::size_t kLanes = 8;

// A row in steps, to the nearest.
MEMDB_CLONES void Round(const float* row, std::size_t width, float inverse, std::uint8_t* __restrict code) {
  for (std::size_t place = 0; place < width; ++place) {
    const float scaled = row[place] * inverse;
    int whole = static_cast<int>(scaled + (scaled < 0 ? -0.5F : 0.5F));
    whole = whole > kCodeMax ? kCodeMax : whole < -kCodeMax ? -kCodeMax : whole;
    code[place] = static_cast<std::uint8_t>(whole + kCodeZero);
  }
}

// The square of how far a row is from its code.
MEMDB_CLONES double SquaredError(const float* row, std::size_t width, double step, const std::uint8_t* code) {
  double part[kLanes] = {}, sum = 0.0;
  std::size_t place = 0;
  for (; place + kLanes <= width; place += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double left = static_cast<double>(row[place + lane]) - step * (code[place + lane] - kCodeZero);
      part[lane] += left * left;
    }
  }
  for (; place < width; ++place) {
    const double left = static_cast<double>(row[place]) - step * (code[place] - kCodeZero);
    sum += left * left;
  }
  for (const double lane : part) sum += lane;
  return sum;
}

Measure MakeRow(const float* row, std::size_t width, std::uint8_t* code) {
  const double length = Length(row, width);
  if (!(length <= kLengthMax)) {
    std::memset(code, kCodeZero, width);
    return {0.0F, kUnknown, kUnknown};
  }
  float step = Largest(row, width) / kCodeMax;
  if (step < kStepMin) step = 0.0F;
  Round(row, width, step == 0.0F ? 0.0F : 1.0F / step, code);
  const double error = std::sqrt(SquaredError(row, width, static_cast<double>(step), code));
  return {step, static_cast<float>(error * kWiden), static_cast<float>((length + error) * kWiden)};
}

}  // namespace

void MakeSketch(const float* rows, std::size_t count, std::size_t width, std::uint8_t* codes, Measure* measures) {
  for (std::size_t row = 0; row < count; ++row) measures[row] = MakeRow(rows + row * width, width, codes + row * width);
}

bool FindNear(const Sketch& sketch, std::size_t width, const float* query, const std::vector<std::uint32_t>& admitted,
              Near* near, bool plain) {
  thread_local Weights weights;
  weights.Take(query, width);
  const double length = Length(query, width), dim = static_cast<double>(width);
  if (!(length <= kLengthMax)) return false;
  near->products.resize(admitted.size()), near->bounds.resize(admitted.size());
  for (std::size_t place = 0; place < admitted.size(); ++place) {
    const std::uint32_t row = admitted[place];
    const std::uint8_t* code = sketch.codes + row * width;
    // Of rows that follow each other, which they are but for a few; reading ahead of what is there does no harm.
    for (std::size_t line = 0; line < width; line += kLine) __builtin_prefetch(code + kAhead + line, 0, 2);
    const Measure measure = sketch.measures[row];
    if (!(measure.error < kUnknown)) return false;
    near->products[place] = WholeProduct(code, weights, plain) * static_cast<double>(measure.step);
    // A hundredth more than it is of everything that is not the row's own: what is rounded here.
    const double rounding = 1.01 * dim * kRoundoff * length * measure.length;
    const double tiny = 1.01 * kSmallestNormal * (dim + std::sqrt(dim) * (length + measure.length));
    near->bounds[place] = kWiden * (length * measure.error + weights.away() * measure.length + rounding + tiny);
  }
  return true;
}

}  // namespace memdb_edge
