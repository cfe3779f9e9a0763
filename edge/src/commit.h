// A commit with the interpreter's lock let go of once: see memdb_edge.pyi.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefineCommit(pybind11::module_& module);

}  // namespace memdb_edge
