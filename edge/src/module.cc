// The module memdb_edge: see memdb_edge.pyi.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include <cstring>
#include <mutex>
#include <optional>

#include "server.h"
#include "shelf.h"

namespace py = pybind11;

namespace memdb_edge {
namespace {

constexpr std::size_t kLargeBytes = 64 << 10;

// The bytes of a message; copied, and without the interpreter's lock where that takes a while.
py::object BytesOf(grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) throw std::runtime_error("a message that cannot be read");
  const std::size_t length = message.Length();
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(length));
  if (bytes == nullptr) throw py::error_already_set();
  char* to = PyBytes_AS_STRING(bytes);
  const auto copy = [&slices, to] {
    char* place = to;
    for (const auto& slice : slices) {
      std::memcpy(place, slice.begin(), slice.size());
      place += slice.size();
    }
  };
  if (length >= kLargeBytes) {
    py::gil_scoped_release released;  // nobody else knows the object yet
    copy();
  } else {
    copy();
  }
  return py::reinterpret_steal<py::object>(bytes);
}

grpc::ByteBuffer BufferOf(const py::bytes& data) {
  char* begin = nullptr;
  Py_ssize_t length = 0;
  if (PyBytes_AsStringAndSize(data.ptr(), &begin, &length) != 0) throw py::error_already_set();
  const grpc::Slice slice(begin, static_cast<std::size_t>(length));
  return grpc::ByteBuffer(&slice, 1);
}

Metadata MetadataOf(const py::iterable& pairs) {
  Metadata metadata;
  for (const auto& pair : pairs) {
    const auto both = py::cast<py::tuple>(pair);
    // str or bytes: either has its bytes.
    metadata.emplace_back(py::cast<std::string>(both[0]), py::cast<std::string>(both[1]));
  }
  return metadata;
}

bool IsBinary(const std::string& key) {
  return key.size() >= 4 && key.compare(key.size() - 4, 4, "-bin") == 0;
}

// Python's hold on a call.  One that is let go of without an end is ended, or it were there for ever.
class Handle {
 public:
  explicit Handle(std::shared_ptr<Call::Shared> shared) : shared_(std::move(shared)) {}
  Handle(const Handle&) = delete;
  ~Handle() {
    if (shared_->call != nullptr) {
      End(grpc::Status(grpc::StatusCode::INTERNAL, "the call was let go of"), {}, nullptr);
    }
  }

  int method() const { return shared_->method; }
  std::int64_t deadline_ns() const { return shared_->deadline_ns; }
  py::tuple metadata() const {
    py::tuple told(shared_->metadata.size());
    std::size_t place = 0;
    for (const auto& [key, value] : shared_->metadata) {
      py::object text;
      if (IsBinary(key)) {
        text = py::bytes(value);
      } else {
        text = py::reinterpret_steal<py::object>(
            PyUnicode_DecodeLatin1(value.data(), static_cast<Py_ssize_t>(value.size()), nullptr));
      }
      told[place++] = py::make_tuple(py::str(key), text);
    }
    return told;
  }

  void Read() { There().Read(); }
  void Write(const py::bytes& data) {
    auto message = BufferOf(data);
    py::gil_scoped_release released;
    There().Write(std::move(message));
  }
  void Answer(const py::bytes& data, const py::iterable& trailers) {
    auto message = BufferOf(data);
    End(grpc::Status::OK, MetadataOf(trailers), &message);
  }
  void Finish(int code, const std::string& details, const py::iterable& trailers) {
    End(grpc::Status(static_cast<grpc::StatusCode>(code), details), MetadataOf(trailers), nullptr);
  }
  bool finished() const { return shared_->call == nullptr; }

  const std::shared_ptr<Call::Shared>& shared() const { return shared_; }

 private:
  Call& There() const {
    if (shared_->call == nullptr) throw std::runtime_error("the call has ended");
    return *shared_->call;
  }
  void End(grpc::Status status, const Metadata& trailers, grpc::ByteBuffer* answer) {
    Call& call = There();
    shared_->call = nullptr;  // from here on it may go at any time
    py::gil_scoped_release released;
    call.End(std::move(status), trailers, answer);
  }

  std::shared_ptr<Call::Shared> shared_;
};

// Events as (kind, handle or key, bytes or whether).
py::list Take(Server& server) {
  auto events = server.Take();
  py::list told;
  for (auto& event : events) {
    const auto key = reinterpret_cast<std::uintptr_t>(event.call.get());
    py::object said;
    if ((event.kind == Event::kCall && event.call->unary) || event.kind == Event::kRead) {
      said = event.ok ? BytesOf(event.message) : py::none();
      event.message.Clear();
    } else {
      said = py::bool_(event.ok);
    }
    py::object who;
    if (event.kind == Event::kCall) {
      who = py::cast(std::make_unique<Handle>(std::move(event.call)));
      told.append(py::make_tuple(int(event.kind), key, said, who));
    } else {
      told.append(py::make_tuple(int(event.kind), key, said));
    }
  }
  return told;
}

// Objects that a thread without the interpreter's lock has let go of, until one with it comes by.
class Graveyard {
 public:
  void Put(PyObject* object) {
    std::lock_guard<std::mutex> lock(mutex_);
    objects_.push_back(object);
  }
  void Clear() {
    std::vector<PyObject*> objects;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      objects.swap(objects_);
    }
    for (PyObject* object : objects) Py_DECREF(object);
  }

 private:
  std::mutex mutex_;
  std::vector<PyObject*> objects_;
};

Graveyard& Dead() {
  static auto* dead = new Graveyard;  // never destroyed: threads may outlive the module
  return *dead;
}

std::shared_ptr<void> Kept(const py::object& object) {
  PyObject* raw = object.ptr();
  Py_INCREF(raw);
  return {static_cast<void*>(raw), [](void* kept) { Dead().Put(static_cast<PyObject*>(kept)); }};
}

using Floats = py::array_t<float, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Times = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>;
using Flags = py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>;
using Places = py::array_t<std::uint32_t, py::array::c_style | py::array::forcecast>;

template <typename T, typename Array>
std::vector<T> Values(const Array& array, std::size_t count, const char* name) {
  if (array.ndim() != 1 || static_cast<std::size_t>(array.shape(0)) != count) throw py::value_error(name);
  return std::vector<T>(array.data(), array.data() + count);
}

// numpy's loop for float64 of a ufunc with one argument.
void FindLoop(const py::object& ufunc, Kernels* kernels) {
  if (!PyObject_TypeCheck(ufunc.ptr(), &PyUFunc_Type)) throw py::type_error("not a ufunc");
  const auto* function = reinterpret_cast<PyUFuncObject*>(ufunc.ptr());
  for (int place = 0; place < function->ntypes; ++place) {
    const char* types = function->types + place * function->nargs;
    if (function->nin == 1 && function->nout == 1 && types[0] == NPY_DOUBLE && types[1] == NPY_DOUBLE) {
      kernels->exp_loop = reinterpret_cast<decltype(kernels->exp_loop)>(function->functions[place]);
      kernels->exp_data = function->data[place];
      return;
    }
  }
  throw py::type_error("no loop for float64");
}

Kernels KernelsOf(std::uintptr_t inner_products, const py::object& exp) {
  Kernels kernels;
  kernels.inner_products = reinterpret_cast<decltype(kernels.inner_products)>(inner_products);
  FindLoop(exp, &kernels);
  return kernels;
}

bool Put(Shelf& shelf, const std::string& user, bool global_memory, bool keyframes, std::size_t dim,
         const Floats& whole, const Times& start_ns, const Times& end_ns, const Flags& alive, const Places& stream,
         const std::vector<std::tuple<std::string, std::optional<Doubles>, double, double>>& streams,
         const std::vector<py::bytes>& clips, const py::bytes& tail) {
  auto prepared = std::make_shared<Prepared>();
  if (whole.ndim() != 2) throw py::value_error("whole");
  prepared->user = user;
  prepared->global_memory = global_memory;
  prepared->keyframes = keyframes;
  prepared->dim = dim;
  const std::size_t rows = prepared->rows = static_cast<std::size_t>(whole.shape(0));
  prepared->width = static_cast<std::size_t>(whole.shape(1));
  if (dim == 0 || dim > prepared->width) throw py::value_error("dim");
  prepared->whole = whole.data();
  prepared->keep = Kept(whole);
  prepared->start_ns = Values<std::int64_t>(start_ns, rows, "start_ns");
  prepared->end_ns = Values<std::int64_t>(end_ns, rows, "end_ns");
  prepared->alive = Values<std::uint8_t>(alive, rows, "alive");
  prepared->stream = Values<std::uint32_t>(stream, rows, "stream");
  for (const auto& [name, mean, spread, things] : streams) {
    Null null{name, {}, spread, things};
    if (mean) null.mean = Values<double>(*mean, dim, "mean");
    prepared->streams.push_back(std::move(null));
  }
  if (clips.size() != rows) throw py::value_error("clips");
  for (std::size_t row = 0; row < rows; ++row) {
    const std::uint32_t place = prepared->stream[row];
    if (place >= prepared->streams.size()) throw py::value_error("stream");
    if (prepared->alive[row] && prepared->streams[place].mean.empty()) throw py::value_error("mean");
    prepared->clips.push_back(clips[row]);
  }
  prepared->tail = tail;
  const bool taken = shelf.Put(std::move(prepared));
  Dead().Clear();  // what made room
  return taken;
}

}  // namespace
}  // namespace memdb_edge

namespace {

// numpy's tables are filled in by its own macros, which return on failure.
void* ImportNumpy() {
  import_array();
  import_umath();
  return nullptr;
}

}  // namespace

PYBIND11_MODULE(memdb_edge, module) {
  using namespace memdb_edge;
  ImportNumpy();
  if (PyErr_Occurred()) throw py::error_already_set();
  module.doc() = "A gRPC server as bytes and events: the native edge of memdb.";
  module.attr("__version__") = MEMDB_EDGE_VERSION;
  module.attr("grpc_version") = grpc::Version();
  py::class_<Handle>(module, "Call")
      .def_property_readonly("method", &Handle::method)
      .def_property_readonly("deadline_ns", &Handle::deadline_ns)
      .def_property_readonly("metadata", &Handle::metadata)
      .def_property_readonly("finished", &Handle::finished)
      .def("read", &Handle::Read)
      .def("write", &Handle::Write)
      .def("answer", &Handle::Answer)
      .def("finish", &Handle::Finish);
  py::class_<Shelf, std::shared_ptr<Shelf>>(module, "Shelf")
      .def(py::init([](std::uintptr_t inner_products, const py::object& exp, std::size_t bytes_max) {
             return std::make_shared<Shelf>(KernelsOf(inner_products, exp), bytes_max);
           }),
           py::arg("inner_products"), py::arg("exp"), py::arg("bytes_max"))
      .def("put", &Put, py::arg("user"), py::arg("global_memory"), py::arg("keyframes"), py::arg("dim"),
           py::arg("whole").noconvert(), py::arg("start_ns"), py::arg("end_ns"), py::arg("alive"), py::arg("stream"),
           py::arg("streams"), py::arg("clips"), py::arg("tail"))
      .def("withdraw",
           [](Shelf& shelf, const std::string& user) {
             {
               py::gil_scoped_release released;
               shelf.Withdraw(user);
             }
             Dead().Clear();
           })
      .def("answer",
           [](const Shelf& shelf, const py::bytes& request) -> py::object {
             const std::string data = request;
             const auto answer = shelf.Answer(data.data(), data.size());
             return answer ? py::object(py::bytes(*answer)) : py::none();
           })
      .def("answer_many",
           [](const Shelf& shelf, const py::bytes& request) -> py::object {
             const std::string data = request;
             const auto answer = shelf.AnswerMany(data.data(), data.size());
             return answer ? py::object(py::bytes(*answer)) : py::none();
           })
      .def("take_asked",
           [](Shelf& shelf) {
             auto asked = shelf.TakeAsked();
             Dead().Clear();
             return asked;
           })
      .def("close", &Shelf::Close)
      .def_property_readonly("answered", &Shelf::answered)
      .def_property_readonly("bytes", &Shelf::bytes)
      .def_property_readonly("users", &Shelf::users);
  module.def("unit_vector", [](const Floats& vector) -> py::object {
    Floats unit(vector.size());
    return UnitVector(vector.data(), static_cast<std::size_t>(vector.size()), unit.mutable_data())
               ? py::object(unit)
               : py::none();
  });
  module.def("dot", [](const Doubles& left, const Floats& right) {
    if (left.size() != right.size()) throw py::value_error("sizes");
    return DotByPairs(left.data(), right.data(), static_cast<std::size_t>(left.size()));
  });
  module.def("relevances", [](const py::object& exp, const Floats& scores, const Doubles& means, const Doubles& spreads,
                              const Doubles& things) {
    const auto count = scores.size();
    if (means.size() != count || spreads.size() != count || things.size() != count) throw py::value_error("sizes");
    Doubles out(count);
    Relevances(KernelsOf(0, exp), scores.data(), means.data(), spreads.data(), things.data(),
               static_cast<std::size_t>(count), out.mutable_data());
    return out;
  });
  py::class_<Server>(module, "Server")
      .def(py::init<std::vector<Option>, const std::vector<std::pair<std::string, bool>>&, std::int64_t,
                    std::shared_ptr<Shelf>, std::pair<std::string, std::string>>(),
           py::arg("options"), py::arg("methods"), py::arg("calls_max"), py::arg("shelf"), py::arg("shelved"))
      .def_property_readonly("fd", &Server::fd)
      .def(
          "start",
          [](Server& server, const std::string& address, std::optional<std::pair<std::string, std::string>> pem) {
            py::gil_scoped_release released;
            if (!pem) return server.Start(address, nullptr);
            const Certificate certificate{pem->first, pem->second};
            return server.Start(address, &certificate);
          },
          py::arg("address"), py::arg("key_and_chain"))
      .def("take", &Take)
      .def("shutdown", &Server::Shutdown, py::arg("grace_s"), py::call_guard<py::gil_scoped_release>());
}
