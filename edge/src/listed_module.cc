#include "listed_module.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "clips.h"
#include "kept.h"
#include "listed.h"
#include "products.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

// Exactly such arrays: nothing is copied, or the copy would be of no use to who changes the rows.
template <typename T>
using Exact = py::array_t<T, py::array::c_style>;

// Takes arrays as they are, checks how long they are, and holds them.
class Taken {
 public:
  template <typename T>
  const T* Of(const py::handle& object, const char* name, std::initializer_list<std::size_t> shape) {
    if (!Exact<T>::check_(object)) throw py::type_error(name);
    const auto array = py::reinterpret_borrow<Exact<T>>(object);
    if (static_cast<std::size_t>(array.ndim()) != shape.size()) throw py::value_error(name);
    py::ssize_t axis = 0;
    for (const std::size_t length : shape) {
      if (static_cast<std::size_t>(array.shape(axis++)) != length) throw py::value_error(name);
    }
    held_.append(array);
    return array.data();
  }
  const py::list& held() const { return held_; }

 private:
  py::list held_;
};

std::size_t Length(const py::handle& object) { return py::len(object); }

using Pair = std::pair<py::object, py::object>;
using Nearby = std::tuple<py::object, py::object, py::object, double, py::object, double>;
using Lists = std::tuple<py::object, py::object, py::object>;
using Later = std::pair<std::size_t, py::object>;
using Breadth = std::tuple<std::size_t, std::size_t, bool>;
using Stream = std::tuple<std::uint32_t, std::string, Exact<double>, double, double>;

void TakeChunks(const std::vector<Pair>& chunks, Taken* taken, Listed* listed) {
  std::size_t first = 0;
  for (const auto& [head, tail] : chunks) {
    const std::size_t rows = Length(head);
    listed->chunks.push_back({first, rows, taken->Of<std::uint16_t>(head, "head", {rows, listed->width}),
                              taken->Of<std::int16_t>(tail, "tail", {rows, listed->width})});
    first += rows;
  }
  if (first != listed->rows || listed->width % 16 != 0) throw py::value_error("chunks");
}

void TakeLists(const Nearby& nearby, const Lists& lists, const std::vector<Later>& later, Taken* taken,
               Listed* listed) {
  const auto& [directions, direction_steps, steps, bound_step, centres, half_step] = nearby;
  const std::size_t places = Length(steps);
  listed->code_bytes = places + 2;
  listed->lists = Length(centres);
  listed->directions = taken->Of<std::uint8_t>(directions, "directions", {places, listed->width});
  listed->direction_steps = taken->Of<float>(direction_steps, "direction_steps", {places});
  listed->steps = taken->Of<float>(steps, "steps", {places});
  listed->bound_step = bound_step;
  listed->centres = taken->Of<std::uint8_t>(centres, "centres", {listed->lists, listed->code_bytes});
  listed->half_step = half_step;
  const auto& [offsets, numbers, codes] = lists;
  listed->listed_rows = Length(numbers);
  listed->offsets = taken->Of<std::int64_t>(offsets, "offsets", {listed->lists + 1});
  listed->numbers = taken->Of<std::int64_t>(numbers, "numbers", {listed->listed_rows});
  listed->codes = taken->Of<std::uint8_t>(codes, "codes", {listed->listed_rows, listed->code_bytes});
  listed->coded = listed->listed_rows;
  for (const auto& [first, part] : later) {
    const std::size_t rows = Length(part);
    if (first != listed->coded) throw py::value_error("later");
    listed->later.push_back({first, rows, taken->Of<std::uint8_t>(part, "later", {rows, listed->code_bytes})});
    listed->coded += rows;
  }
  if (listed->lists == 0 || listed->coded > listed->rows) throw py::value_error("lists");
}

std::shared_ptr<Listed> Put(Shelf& shelf, const std::string& user, bool global_memory, bool keyframes, std::size_t dim,
                            std::size_t width, std::size_t rows, const std::vector<Pair>& chunks,
                            std::pair<double, double> norms, const py::object& alive, double alive_share,
                            const Nearby& nearby, const Lists& lists, const std::vector<Later>& later,
                            std::vector<std::uint32_t> unbounded, const Breadth& breadth, const py::object& stream_no,
                            const std::vector<Stream>& streams, const std::string& only, std::shared_ptr<Clips> clips,
                            const std::string& tail) {
  ClearDead();
  auto listed = std::make_shared<Listed>();
  Taken taken;
  listed->user = user;
  listed->global_memory = global_memory;
  listed->keyframes = keyframes;
  listed->dim = dim;
  listed->width = width;
  listed->rows = rows;
  if (dim == 0 || dim > width) throw py::value_error("dim");
  TakeChunks(chunks, &taken, listed.get());
  std::tie(listed->norm_max, listed->residual_max) = norms;
  if (!alive.is_none()) {
    listed->alive = reinterpret_cast<const std::uint8_t*>(taken.Of<bool>(alive, "alive", {rows}));
  }
  listed->alive_share = alive_share;
  TakeLists(nearby, lists, later, &taken, listed.get());
  for (const std::uint32_t row : unbounded) {
    if (row >= listed->coded) throw py::value_error("unbounded");
  }
  listed->unbounded = std::move(unbounded);
  std::tie(listed->lists_wanted, listed->candidates, listed->by_distance) = breadth;
  listed->stream_no = taken.Of<std::uint32_t>(stream_no, "stream_no", {rows});
  for (const auto& [number, name, mean, spread, things] : streams) {
    if (static_cast<std::size_t>(mean.size()) != dim) throw py::value_error("mean");
    listed->streams.emplace_back(number, Null{name, {mean.data(), mean.data() + mean.size()}, spread, things});
  }
  listed->only = only;
  listed->clips = std::move(clips);
  listed->tail = tail;
  listed->keep = Kept(taken.held());
  shelf.Put(listed);
  return listed;
}

}  // namespace

void DefineListed(py::module_& module) {
  py::class_<ClipRoom, std::shared_ptr<ClipRoom>>(module, "ClipRoom")
      .def(py::init([](std::size_t bytes_max) { return std::make_shared<ClipRoom>(bytes_max); }), py::arg("bytes_max"))
      .def("clips", [](std::shared_ptr<ClipRoom> room) { return std::make_shared<Clips>(std::move(room)); })
      .def_property_readonly("bytes", &ClipRoom::bytes);
  py::class_<Clips, std::shared_ptr<Clips>>(module, "Clips")
      .def("put", [](Clips& clips, std::uint32_t row, const py::bytes& clip) { clips.Put(row, clip); });
  py::class_<Listed, std::shared_ptr<Listed>>(module, "Listed")
      .def_property_readonly("is_there", [](const Listed& listed) { return listed.is_there.load(); })
      .def("take_asked", [](const Listed& listed) { return listed.asked.exchange(0); })
      .def("take_samples",
           [](const Listed& listed) {
             py::list told;
             for (const auto& [feature, scores] : listed.TakeSamples()) {
               told.append(py::make_tuple(Exact<float>(static_cast<py::ssize_t>(feature.size()), feature.data()),
                                          Exact<float>(static_cast<py::ssize_t>(scores.size()), scores.data())));
             }
             return told;
           })
      .def("take_missing", &Listed::TakeMissing);
  module.def(
      "code_products",
      [](const Exact<std::uint8_t>& codes, const Exact<float>& values, bool plain) {
        if (codes.ndim() != 2 || codes.shape(1) != values.size()) throw py::value_error("sizes");
        Weights weights;
        weights.Take(values.data(), static_cast<std::size_t>(values.size()));
        Exact<float> out(codes.shape(0));
        Products(codes.data(), static_cast<std::size_t>(codes.shape(0)), weights, out.mutable_data(), plain);
        return py::make_tuple(out, weights.slack());
      },
      py::arg("codes"), py::arg("values"), py::arg("plain"));
  module.def(
      "head_product",
      [](const Exact<std::uint16_t>& head, const Exact<float>& vector, bool plain) {
        if (head.size() != vector.size() || head.size() % 16 != 0) throw py::value_error("sizes");
        return HeadProduct(head.data(), vector.data(), static_cast<std::size_t>(head.size()), plain);
      },
      py::arg("head"), py::arg("vector"), py::arg("plain"));
}

void DefineListed(py::class_<Shelf, std::shared_ptr<Shelf>>& shelf) {
  shelf.def("put_listed", &Put, py::kw_only(), py::arg("user"), py::arg("global_memory"), py::arg("keyframes"),
            py::arg("dim"), py::arg("width"), py::arg("rows"), py::arg("chunks"), py::arg("norms"), py::arg("alive"),
            py::arg("alive_share"), py::arg("nearby"), py::arg("lists"), py::arg("later"), py::arg("unbounded"),
            py::arg("breadth"), py::arg("stream_no"), py::arg("streams"), py::arg("only"), py::arg("clips"), py::arg("tail"));
}

}  // namespace memdb_edge
