#include "rows_module.h"

#include <pybind11/numpy.h>

#include <cstdint>
#include <vector>

#include "rows.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

using Floats = py::array_t<float, py::array::c_style>;
using Heads = py::array_t<std::uint16_t, py::array::c_style>;
using Tails = py::array_t<std::int16_t, py::array::c_style>;

constexpr std::size_t kHeldBytes = 1 << 20;
constexpr int kFloat = 11, kHalf = 23;  // numpy's numbers of float32 and float16

// Where rows lie that are alike.
class Rows {
 public:
  // False where it is no array of one, or not all are alike.
  bool Take(py::handle row, bool is_table) {
    if (!py::isinstance<py::array>(row)) return false;
    const auto array = py::reinterpret_borrow<py::array>(row);
    const int type = array.dtype().num();
    constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((type != kFloat && type != kHalf) || (array.flags() & wanted) != wanted || array.dtype().byteorder() == '>') {
      return false;
    }
    if (array.ndim() != (is_table ? 2 : 1)) return false;
    const auto dim = static_cast<std::size_t>(array.shape(array.ndim() - 1));
    if (dim == 0 || (!rows_.empty() && (dim != dim_ || type != type_))) return false;
    dim_ = dim, type_ = type;
    const auto count = is_table ? static_cast<std::size_t>(array.shape(0)) : 1;
    const auto* begin = static_cast<const char*>(array.data());
    const std::size_t bytes = dim * (type == kFloat ? sizeof(float) : sizeof(std::uint16_t));
    for (std::size_t place = 0; place < count; ++place) rows_.push_back(begin + place * bytes);
    return true;
  }

  std::size_t count() const { return rows_.size(); }
  std::size_t dim() const { return dim_; }

  bool Unit(float* out) const {
    for (const char* row : rows_) {
      const bool is_finite = type_ == kFloat ? UnitRow(reinterpret_cast<const float*>(row), dim_, out)
                                             : UnitRow(reinterpret_cast<const std::uint16_t*>(row), dim_, out);
      if (!is_finite) return false;
      out += dim_;
    }
    return true;
  }

 private:
  std::vector<const char*> rows_;
  std::size_t dim_ = 0;
  int type_ = 0;
};

// The interpreter's lock is kept where all is sooner done than the lock handed over.
template <typename Work>
void Held(std::size_t bytes, Work work) {
  if (bytes <= kHeldBytes) {
    work();
  } else {
    py::gil_scoped_release released;
    work();
  }
}

py::object UnitRows(const py::object& vectors) {
  Rows rows;
  if (py::isinstance<py::list>(vectors)) {
    for (const auto& vector : py::reinterpret_borrow<py::list>(vectors)) {
      if (!rows.Take(vector, false)) return py::none();
    }
  } else if (!rows.Take(vectors, true)) {
    return py::none();
  }
  if (rows.count() == 0) return py::none();
  Floats made({rows.count(), rows.dim()});
  float* out = made.mutable_data();
  bool is_finite = false;
  Held(rows.count() * rows.dim() * sizeof(float), [&] { is_finite = rows.Unit(out); });
  return is_finite ? py::object(made) : py::none();
}

py::tuple SplitRows(const Floats& rows, Heads& heads, Tails& tails) {
  if (rows.ndim() != 2 || heads.ndim() != 2 || tails.ndim() != 2) throw py::value_error("two dimensions");
  const auto count = static_cast<std::size_t>(rows.shape(0)), dim = static_cast<std::size_t>(rows.shape(1));
  const auto width = static_cast<std::size_t>(heads.shape(1));
  const bool are_alike = heads.shape(0) == rows.shape(0) && tails.shape(0) == rows.shape(0) &&
                         static_cast<std::size_t>(tails.shape(1)) == width && dim <= width;
  if (!are_alike) throw py::value_error("planes of another shape");
  const float* row = rows.data();
  std::uint16_t* head = heads.mutable_data();
  std::int16_t* tail = tails.mutable_data();
  Lengths longest;
  Held(count * dim * sizeof(float), [&] {
    for (std::size_t place = 0; place < count; ++place) {
      SplitRow(row + place * dim, dim, width, head + place * width, tail + place * width, &longest);
    }
  });
  // As much as the sums of float32 that Python takes may be wrong.
  const double more = 1.0 + static_cast<double>(dim) * 0x1p-24;
  return py::make_tuple(longest.residual * more, longest.row * more);
}

}  // namespace

void DefineRows(py::module_& module) {
  module.def("unit_rows", &UnitRows, py::arg("vectors"));
  module.def("split_rows", &SplitRows, py::arg("rows").noconvert(), py::arg("head").noconvert(),
             py::arg("tail").noconvert());
  module.def("widen", [](const py::array_t<std::uint16_t, py::array::c_style>& halves, bool plain) {
    Floats made(halves.size());
    Widen(halves.data(), static_cast<std::size_t>(halves.size()), made.mutable_data(), plain);
    return made;
  });
}

}  // namespace memdb_edge
