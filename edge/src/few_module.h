// What the module memdb_edge has for questions to few rows of one's own process: see memdb_edge.pyi.
#pragma once

#include <pybind11/pybind11.h>

#include "shelf.h"

namespace memdb_edge {

// kernels_of: what was handed in by address and as numpy's ufunc.
void DefineFew(pybind11::module_& module, Kernels (*kernels_of)(std::uintptr_t, const pybind11::object&));

}  // namespace memdb_edge
