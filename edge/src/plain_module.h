// Plain clips that were made in this process, as they are stored: `stored.h` for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefinePlain(pybind11::module_& module);

}  // namespace memdb_edge
