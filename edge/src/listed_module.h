// What the module memdb_edge has of large users: see memdb_edge.pyi.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "shelf.h"

namespace memdb_edge {

void DefineListed(pybind11::module_& module);
// Adds to the shelf's methods.
void DefineListed(pybind11::class_<Shelf, std::shared_ptr<Shelf>>& shelf);

}  // namespace memdb_edge
