#include "sketch_module.h"

#include <pybind11/stl.h>

#include <type_traits>
#include <vector>

namespace py = pybind11;

namespace memdb_edge {

namespace {

using Floats = py::array_t<float, py::array::c_style>;

constexpr py::ssize_t kMeasured = 3;
static_assert(sizeof(Measure) == kMeasured * sizeof(float) && std::is_standard_layout_v<Measure>);

}  // namespace

Sketch SketchOf(const Codes& codes, const Measures& measures, std::size_t rows, std::size_t width) {
  if (!codes && !measures) return {};
  if (!codes || !measures) throw py::value_error("codes and measures");
  if (codes->ndim() != 2 || static_cast<std::size_t>(codes->shape(0)) != rows ||
      static_cast<std::size_t>(codes->shape(1)) != width) {
    throw py::value_error("codes");
  }
  if (measures->ndim() != 2 || static_cast<std::size_t>(measures->shape(0)) != rows ||
      measures->shape(1) != kMeasured) {
    throw py::value_error("measures");
  }
  return {codes->data(), reinterpret_cast<const Measure*>(measures->data())};
}

void DefineSketch(py::module_& module) {
  module.def(
      "sketch_rows",
      [](const Floats& rows, py::array_t<std::uint8_t, py::array::c_style>& codes, Floats& measures) {
        if (rows.ndim() != 2) throw py::value_error("rows");
        const auto count = static_cast<std::size_t>(rows.shape(0)), width = static_cast<std::size_t>(rows.shape(1));
        SketchOf(codes, measures, count, width);
        MakeSketch(rows.data(), count, width, codes.mutable_data(),
                   reinterpret_cast<Measure*>(measures.mutable_data()));
      },
      py::arg("rows").noconvert(), py::arg("codes").noconvert(), py::arg("measures").noconvert());
  module.def("sketched_products", [](const Codes& codes, const Measures& measures, const Floats& query, bool plain) {
    const auto rows = static_cast<std::size_t>(codes.value().shape(0));
    const auto width = static_cast<std::size_t>(query.size());
    const Sketch sketch = SketchOf(codes, measures, rows, width);
    std::vector<std::uint32_t> all(rows);
    for (std::size_t row = 0; row < rows; ++row) all[row] = static_cast<std::uint32_t>(row);
    Near near;
    if (!FindNear(sketch, width, query.data(), all, &near, plain)) return py::object(py::none());
    return py::object(py::make_tuple(py::array_t<double>(static_cast<py::ssize_t>(rows), near.products.data()),
                                     py::array_t<double>(static_cast<py::ssize_t>(rows), near.bounds.data())));
  });
}

}  // namespace memdb_edge
