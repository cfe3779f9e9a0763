// Messages of an ingest, as Python has them.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "message.h"

namespace memdb_edge {

// The bytes of all pieces; copied, and without the interpreter's lock where that takes a while.
pybind11::object Joined(const std::vector<std::string_view>& pieces);
// Some clips of a plain one, as `memdb_edge.PlainClips.clips` gives them.
pybind11::list ClipsOf(const Message& message, std::size_t begin, std::size_t end);
void DefineMessage(pybind11::module_& module);
// `memdb_edge.PlainClips`, or bytes where they are not plain.
pybind11::object ObjectOf(std::unique_ptr<Message> message);

}  // namespace memdb_edge
