// Which rows of a store (memdb/store/rows.py) follow each other, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefineStretches(pybind11::module_& module);

}  // namespace memdb_edge
