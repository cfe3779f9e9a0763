// Ids of numbers that follow each other (memdb/store/idents.py), and the acknowledgements of clips that have them.
#pragma once

#include <pybind11/pybind11.h>

namespace memdb_edge {

void DefineIds(pybind11::module_& module);

}  // namespace memdb_edge
