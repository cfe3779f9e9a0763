// `rows.h` for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefineRows(pybind11::module_& module);

}  // namespace memdb_edge
