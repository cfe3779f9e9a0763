#include "plain_module.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "python_memory.h"
#include "staging.h"
#include "stored.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

// A view of an array's elements, which lie one behind the other.
class Elements {
 public:
  Elements() = default;
  Elements(const Elements&) = delete;
  Elements& operator=(const Elements&) = delete;
  ~Elements() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }
  // False where they do not.
  bool Of(py::handle array) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_SIMPLE) == 0) return true;
    view_.obj = nullptr;
    if (PyErr_ExceptionMatches(PyExc_MemoryError)) throw py::error_already_set();
    PyErr_Clear();
    return false;
  }
  std::string_view bytes() const { return {static_cast<const char*>(view_.buf), static_cast<std::size_t>(view_.len)}; }

 private:
  Py_buffer view_{};
};

// Names of the fields of memdb's own values, made once.
struct Names {
  py::str clip = Interned("clip"), short_memory = Interned("short_memory"), content = Interned("content");
  py::str seq = Interned("seq"), epoch = Interned("epoch"), start_ns = Interned("start_ns");
  py::str end_ns = Interned("end_ns"), frames = Interned("frames_per_token_row"), vector = Interned("global_memory");
  py::str codec = Interned("codec"), shape = Interned("shape"), payload = Interned("payload");
  py::str checksum = Interned("checksum");

  static py::str Interned(const char* name) {
    return py::reinterpret_steal<py::str>(Made(PyUnicode_InternFromString(name)).release());
  }
};

const Names& TheNames() {
  static const auto* const names = new Names;  // for ever: Python may be gone at the end of the process
  return *names;
}

py::object Field(py::handle of, const py::str& name) { return Made(PyObject_GetAttr(of.ptr(), name.ptr())); }

std::uint64_t Unsigned(py::handle number) {
  const std::uint64_t value = PyLong_AsUnsignedLongLong(number.ptr());
  if (value == static_cast<std::uint64_t>(-1) && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

std::int64_t Signed(py::handle number) {
  const std::int64_t value = PyLong_AsLongLong(number.ptr());
  if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
  return value;
}

StoredTensor TensorOf(py::handle tensor, py::handle payload) {
  const Names& names = TheNames();
  const py::object shape = Field(tensor, names.shape);
  const Py_ssize_t bytes = PyObject_Size(payload.ptr());
  if (bytes < 0) throw py::error_already_set();
  const auto both = py::cast<py::tuple>(shape);
  if (both.size() != 2) throw py::value_error("shape");
  return {Unsigned(Field(tensor, names.codec)), Unsigned(both[0]), Unsigned(both[1]), static_cast<std::uint64_t>(bytes),
          Unsigned(Field(tensor, names.checksum))};
}

// None where a vector does not lie in one piece, or a number is of another type.
py::object StagePlain(const py::dict& clips, const py::dict& vectors, const py::dict& short_memory,
                      const py::dict& ledger, const py::list& operations, const py::list& ledger_keys,
                      const py::list& stream_nos, std::size_t dim, bool halves, std::uint32_t space_no,
                      std::uint64_t first_no, std::uint64_t birth) {
  const Names& names = TheNames();
  const std::size_t count = operations.size(), vector_bytes = dim * (halves ? 2 : 4);
  if (ledger_keys.size() != count || stream_nos.size() != count) throw py::value_error("sizes");
  const StagingTables tables{clips, vectors, short_memory, ledger};
  Staging staging(tables, count, vector_bytes);
  for (std::size_t index = 0; index < count; ++index) {
    const py::handle operation = PyList_GET_ITEM(operations.ptr(), static_cast<Py_ssize_t>(index));
    const py::handle ledger_key = PyList_GET_ITEM(ledger_keys.ptr(), static_cast<Py_ssize_t>(index));
    const py::handle stream_no = PyList_GET_ITEM(stream_nos.ptr(), static_cast<Py_ssize_t>(index));
    const py::object clip = Field(operation, names.clip), tensor = Field(operation, names.short_memory);
    const py::object vector = Field(clip, names.vector), frames = Field(clip, names.frames);
    Elements elements;
    const bool is_usual = frames.is_none() || PyFloat_CheckExact(frames.ptr());
    if (!is_usual || !elements.Of(vector)) return py::none();
    if (elements.bytes().size() != vector_bytes) throw py::value_error("dim");
    StoredClip stored{Unsigned(Field(clip, names.epoch)),
                      Unsigned(Field(clip, names.seq)),
                      Signed(Field(clip, names.start_ns)),
                      Signed(Field(clip, names.end_ns)),
                      std::nullopt,
                      elements.bytes(),
                      halves,
                      std::nullopt};
    if (!frames.is_none()) stored.frames_per_token_row = PyFloat_AS_DOUBLE(frames.ptr());
    py::object payload;
    if (!tensor.is_none()) {
      payload = Field(tensor, names.payload);
      stored.tensor = TensorOf(tensor, payload);
    }
    const py::object said = Field(operation, names.content);
    if (!PyBytes_Check(said.ptr()) || PyBytes_GET_SIZE(said.ptr()) != static_cast<Py_ssize_t>(kContentBytes)) {
      throw py::value_error("content");
    }
    if (!PyBytes_Check(ledger_key.ptr()) ||
        PyBytes_GET_SIZE(ledger_key.ptr()) != static_cast<Py_ssize_t>(kLedgerKeyBytes)) {
      throw py::value_error("ledger_keys");
    }
    Content content;
    std::memcpy(content.data(), PyBytes_AS_STRING(said.ptr()), kContentBytes);
    const auto its_stream = static_cast<std::uint32_t>(Unsigned(stream_no));
    staging.Add(stored, {its_stream, space_no, first_no + index, birth}, content, payload, ledger_key);
  }
  return staging.Told();
}

}  // namespace

void DefinePlain(py::module_& module) {
  module.def("stage_plain", &StagePlain, py::arg("clips"), py::arg("vectors"), py::arg("short_memory"),
             py::arg("ledger"), py::arg("operations"), py::arg("ledger_keys"), py::arg("stream_nos"), py::arg("dim"),
             py::arg("is_half"), py::arg("space_no"), py::arg("first_no"), py::arg("birth"));
}

}  // namespace memdb_edge
