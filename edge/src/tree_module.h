// What the module memdb_edge has for a look at an LMDB file: see memdb_edge.pyi.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefineTree(pybind11::module_& module);

}  // namespace memdb_edge
