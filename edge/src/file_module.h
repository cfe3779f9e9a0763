// What the module memdb_edge has for files that are looked at before they are used: see memdb_edge.pyi.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefineFiles(pybind11::module_& module);

}  // namespace memdb_edge
