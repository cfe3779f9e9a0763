// Sums and exponentials as numpy has them, to the last bit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace memdb_edge {

// The functions of the libraries that the process has loaded.
struct Kernels {
  // faiss::fvec_inner_products_ny(out, query, rows, dim, count)
  void (*inner_products)(float*, const float*, const float*, std::size_t, std::size_t) = nullptr;
  // numpy's loop of exp for float64, and what it is called with
  void (*exp_loop)(char**, const std::intptr_t*, const std::intptr_t*, void*) = nullptr;
  void* exp_data = nullptr;
};

// memdb/index/directions.py: a vector of length 1; false of zeros and of what is not finite.
bool UnitVector(const float* vector, std::size_t dim, float* out);
// memdb/engine/relevance.py: what a mean scores, and relevances.
double DotByPairs(const double* left, const float* right, std::size_t dim);
void Relevances(const Kernels& kernels, const float* scores, const double* means, const double* spreads,
                const double* things, std::size_t count, double* out);

}  // namespace memdb_edge
