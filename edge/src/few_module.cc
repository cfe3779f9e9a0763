#include "few_module.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "best.h"
#include "sketch_module.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Places = py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>;

// Rows of a block of few, some of which answer questions.
class Few {
 public:
  Few(Kernels kernels, std::size_t dim, const Floats& block, const Places& listed, const Places& stream,
      const std::vector<std::tuple<Doubles, double, double>>& streams, const Codes& codes, const Measures& measures)
      : kernels_(kernels), block_(block), codes_(codes), measures_(measures) {
    if (block.ndim() != 2 || listed.ndim() != 1 || stream.ndim() != 1) throw py::value_error("block");
    rows_.dim = dim;
    rows_.rows = static_cast<std::size_t>(block.shape(0));
    rows_.width = static_cast<std::size_t>(block.shape(1));
    if (dim == 0 || dim > rows_.width) throw py::value_error("dim");
    rows_.whole = block.data();
    rows_.sketch = SketchOf(codes, measures, rows_.rows, rows_.width);
    for (const auto& [mean, spread, things] : streams) {
      if (mean.ndim() != 1 || static_cast<std::size_t>(mean.size()) != dim) throw py::value_error("mean");
      rows_.streams.push_back({"", {mean.data(), mean.data() + dim}, spread, things});
    }
    rows_.stream.assign(rows_.rows, 0);
    if (listed.size() == 0 || listed.size() != stream.size()) throw py::value_error("listed");
    for (py::ssize_t place = 0; place < listed.size(); ++place) {
      const std::uint32_t row = listed.data()[place], its = stream.data()[place];
      if (row >= rows_.rows || its >= rows_.streams.size()) throw py::value_error("listed");
      if (place > 0 && row <= listed_.back()) throw py::value_error("listed");
      rows_.stream[row] = its;
      listed_.push_back(row);
    }
  }

  Few(const Few&) = delete;

  py::object Best(const Floats& feature, std::uint64_t limit) const {
    if (feature.ndim() != 1 || static_cast<std::size_t>(feature.size()) != rows_.dim) throw py::value_error("feature");
    // With the interpreter's lock: to give it away takes longer.
    thread_local Found found;
    const char* elements = reinterpret_cast<const char*>(feature.data());
    if (!Search(kernels_, rows_, elements, limit, listed_, &found)) return py::none();
    const std::size_t count = found.rows.size();
    py::list rows(count), scores(count), relevances(count);
    for (std::size_t place = 0; place < count; ++place) {
      PyList_SET_ITEM(rows.ptr(), static_cast<Py_ssize_t>(place), PyLong_FromUnsignedLong(found.rows[place]));
      PyList_SET_ITEM(scores.ptr(), static_cast<Py_ssize_t>(place),
                      PyFloat_FromDouble(static_cast<double>(found.scores[place])));
      PyList_SET_ITEM(relevances.ptr(), static_cast<Py_ssize_t>(place), PyFloat_FromDouble(found.relevances[place]));
    }
    return py::make_tuple(rows, scores, relevances);
  }

 private:
  Kernels kernels_;
  Floats block_;  // keeps its memory, as those below; let go of by Python, which has its lock
  Codes codes_;
  Measures measures_;
  Prepared rows_;
  std::vector<std::uint32_t> listed_;
};

}  // namespace

void DefineFew(py::module_& module, Kernels (*kernels_of)(std::uintptr_t, const py::object&)) {
  py::class_<Few>(module, "Few")
      .def(py::init([kernels_of](std::uintptr_t inner_products, const py::object& exp, std::size_t dim,
                                 const Floats& block, const Places& listed, const Places& stream,
                                 const std::vector<std::tuple<Doubles, double, double>>& streams, const Codes& codes,
                                 const Measures& measures) {
             return new Few(kernels_of(inner_products, exp), dim, block, listed, stream, streams, codes, measures);
           }),
           py::arg("inner_products"), py::arg("exp"), py::arg("dim"), py::arg("block").noconvert(), py::arg("listed"),
           py::arg("stream"), py::arg("streams"), py::arg("codes").noconvert() = py::none(),
           py::arg("measures").noconvert() = py::none())
      .def("best", &Few::Best);
}

}  // namespace memdb_edge
