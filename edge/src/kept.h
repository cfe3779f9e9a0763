// Python's objects in the hands of threads that do not hold the interpreter's lock.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

namespace memdb_edge {

// A hold on an object, which any thread may let go of; with the interpreter's lock.
std::shared_ptr<void> Kept(const pybind11::object& object);
// Let go of what such threads have let go of; with the interpreter's lock.
void ClearDead();

}  // namespace memdb_edge
