// Runs of plain clips of a message, for Python.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace memdb_edge {

class Message;

void DefineRun(pybind11::module_& module);
// A list of `memdb_edge.PlainRun`, which together are the clips of a message (of which the first is Python's object);
// None where one of them is of another epoch, or more than vectors.
pybind11::object RunsOf(const pybind11::object& its, const Message& message, std::uint64_t epoch);

}  // namespace memdb_edge
