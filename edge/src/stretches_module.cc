#include "stretches_module.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "stored.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

struct Row {
  std::uint32_t stream_no, epoch;
  std::uint64_t seq;
  std::int64_t start_ns, end_ns;
};
static_assert(sizeof(Row) <= kRowBytes);

// As they lie there: `PutRow`.
Row RowAt(std::string_view rows, std::size_t place) {
  Row row;
  std::memcpy(&row, rows.data() + place * kRowBytes, sizeof(row));
  return row;
}

py::list Stretches(const py::bytes& packed) {
  const std::string_view rows = packed;
  if (rows.size() % kRowBytes != 0) throw py::value_error("rows");
  const std::size_t count = rows.size() / kRowBytes;
  py::list found;
  for (std::size_t place = 0; place < count;) {
    const Row first = RowAt(rows, place);
    std::int64_t start_ns = first.start_ns, end_ns = first.end_ns;
    std::size_t length = 1;
    for (; place + length < count; ++length) {
      const Row next = RowAt(rows, place + length);
      if (next.stream_no != first.stream_no || next.epoch != first.epoch || next.seq != first.seq + length) break;
      start_ns = std::min(start_ns, next.start_ns);
      end_ns = next.end_ns;
    }
    found.append(py::make_tuple(first.stream_no, first.epoch, first.seq, length, start_ns, end_ns));
    place += length;
  }
  return found;
}

}  // namespace

void DefineStretches(py::module_& module) { module.def("stretches", &Stretches, py::arg("packed")); }

}  // namespace memdb_edge
