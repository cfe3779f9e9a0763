// The module memdb_edge: see memdb_edge.pyi.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <grpc/grpc.h>
#include <grpc/slice.h>
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>

#include <cstring>
#include <optional>

#include "call.h"
#include "commit.h"
#include "few_module.h"
#include "file_module.h"
#include "ids_module.h"
#include "kept.h"
#include "listed_module.h"
#include "message_module.h"
#include "plain_module.h"
#include "python_memory.h"
#include "rows_module.h"
#include "run_module.h"
#include "server.h"
#include "shelf.h"
#include "sketch_module.h"
#include "stretches_module.h"

namespace py = pybind11;

namespace memdb_edge {
namespace {

// The bytes of a message.
py::object BytesOf(grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) throw std::runtime_error("a message that cannot be read");
  std::vector<std::string_view> pieces;
  for (const auto& slice : slices) pieces.emplace_back(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return Joined(pieces);
}

grpc::ByteBuffer BufferOf(const py::bytes& data) {
  char* begin = nullptr;
  Py_ssize_t length = 0;
  if (PyBytes_AsStringAndSize(data.ptr(), &begin, &length) != 0) throw py::error_already_set();
  const grpc::Slice slice(begin, static_cast<std::size_t>(length));
  return grpc::ByteBuffer(&slice, 1);
}

bool IsBinary(const std::string& key) {
  return key.size() >= 4 && key.compare(key.size() - 4, 4, "-bin") == 0;
}

// A view of it.
grpc_slice SliceOf(const std::string& text) { return grpc_slice_from_static_buffer(text.data(), text.size()); }

Metadata MetadataOf(const py::iterable& pairs) {
  Metadata metadata;
  for (const auto& pair : pairs) {
    const auto both = py::cast<py::tuple>(pair);
    // str or bytes: either has its bytes.
    metadata.emplace_back(py::cast<std::string>(both[0]), py::cast<std::string>(both[1]));
    const auto& [key, value] = metadata.back();
    // gRPC ends the process at what is not.
    if (!grpc_header_key_is_legal(SliceOf(key)) ||
        !(IsBinary(key) || grpc_header_nonbin_value_is_legal(SliceOf(value)))) {
      throw py::value_error("no metadata: " + key);
    }
  }
  return metadata;
}

// What callers sent is not text by nature; every byte is a letter of Latin-1.
py::object TextOf(const std::string& bytes) {
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeLatin1(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), nullptr));
}

// A message as Python has it, None where there is none.  Where it cannot be had, for want of memory most likely, its call
// is given up, or who reads took it for the last.
py::object MessageOf(Incoming& came, const Call::Shared& call) {
  if (!came.ok) return py::none();
  try {
    py::object said = came.read ? ObjectOf(std::move(came.read)) : BytesOf(came.message);
    came.message.Clear();
    return said;
  } catch (const std::exception&) {
    came.message.Clear();
    call.With([](Call& call) { call.Cancel(); });
    return py::none();
  }
}

// Python's hold on a call.  One that is let go of without an end is ended, or it were there for ever.
class Handle {
 public:
  // Of no call yet.
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  void Hold(std::shared_ptr<Call::Shared> shared) noexcept { shared_ = std::move(shared); }
  ~Handle() {
    if (!shared_) return;
    Call* call = shared_->Take();
    if (call != nullptr) call->End({grpc::StatusCode::INTERNAL, "the call was let go of"}, {}, nullptr);
  }

  int method() const { return shared_->method; }
  std::int64_t deadline_ns() const { return shared_->deadline_ns; }
  py::tuple metadata() const {
    py::tuple told(shared_->metadata.size());
    std::size_t place = 0;
    for (const auto& [key, value] : shared_->metadata) {
      const py::object said = IsBinary(key) ? py::object(py::bytes(value)) : TextOf(value);
      told[place++] = py::make_tuple(TextOf(key), said);
    }
    return told;
  }

  py::object Read(bool clips) {
    if (shared_->taken()) throw std::runtime_error("the call has ended");
    Reads::Asked asked;
    if (!shared_->unary) asked = shared_->reads.Ask(clips);
    if (!asked.taken) throw std::runtime_error("one message is read at a time, and of a stream");
    return Said(std::move(asked));
  }
  std::uint64_t Lend() { return shared_->taken() ? 0 : shared_->reads.Lend(); }
  // As `Commit.run`: a thread that comes back while the interpreter ends may touch nothing of Python's.
  py::object Await(std::uint64_t lending) {
    auto* const shared = new std::shared_ptr<Call::Shared>(shared_);
    PyThreadState* const state = PyEval_SaveThread();
    auto* const came = new Incoming;
    came->read = (*shared)->reads.Await(lending);
    came->ok = came->read != nullptr;
    delete shared;
    PyEval_RestoreThread(state);
    const std::unique_ptr<Incoming> owned(came);
    return MessageOf(*owned, *shared_);
  }
  bool TakeBack() { return shared_->reads.TakeBack(); }
  py::object Over(bool given_back) { return Said(shared_->reads.Over(given_back)); }
  void Write(const py::bytes& data) {
    const auto message = BufferOf(data);
    bool sent = false;
    {
      py::gil_scoped_release released;
      There([&sent, &message](Call& call) { sent = call.Write(message); });
    }
    if (!sent) throw std::runtime_error("one message is written at a time");
  }
  void Answer(const py::bytes& data, const py::iterable& trailers) {
    const auto message = BufferOf(data);
    bool writing = false;
    There([&writing](Call& call) { writing = call.writing(); });
    if (writing) throw std::runtime_error("one message is written at a time");
    End(grpc::Status::OK, MetadataOf(trailers), &message);
  }
  void Finish(int code, const std::string& details, const py::iterable& trailers) {
    End(grpc::Status(static_cast<grpc::StatusCode>(code), details), MetadataOf(trailers), nullptr);
  }
  bool finished() const { return shared_->taken(); }
  const std::shared_ptr<Call::Shared>& shared() const { return shared_; }

 private:
  // What is here; false where an event tells it.
  py::object Said(Reads::Asked asked) {
    if (asked.start) {
      py::gil_scoped_release released;  // the peer may have to be told of a window
      There([](Call& call) { call.StartReading(); });
    }
    return asked.here ? MessageOf(*asked.here, *shared_) : py::bool_(false);
  }
  template <typename Use>
  void There(Use use) const {
    if (!shared_->With(use)) throw std::runtime_error("the call has ended");
  }
  void End(grpc::Status status, const Metadata& trailers, const grpc::ByteBuffer* answer) {
    Call* call = shared_->Take();
    if (call == nullptr) throw std::runtime_error("the call has ended");
    py::gil_scoped_release released;
    call->End(std::move(status), trailers, answer);
  }

  std::shared_ptr<Call::Shared> shared_;
};

// What `Handle::Write` does, for several calls, letting go of the interpreter's lock once; which of them took it.
py::list WriteTogether(const std::vector<std::pair<const Handle*, py::bytes>>& messages) {
  std::vector<std::pair<std::shared_ptr<Call::Shared>, grpc::ByteBuffer>> all;
  for (const auto& [handle, data] : messages) all.emplace_back(handle->shared(), BufferOf(data));
  std::vector<char> sent(all.size());
  py::list told(all.size());  // before: who is told nothing would send them again
  {
    py::gil_scoped_release released;
    for (std::size_t place = 0; place < all.size(); ++place) {
      const auto& [call, message] = all[place];
      call->With([place, &sent, &message = message](Call& call) { sent[place] = call.Write(message); });
    }
  }
  for (std::size_t place = 0; place < all.size(); ++place) told[place] = py::bool_(sent[place] != 0);
  return told;
}

// Puts an event among those that are told.  Where there is no memory for that it throws, and nothing of the event is
// lost: its message and its call are given away last.
void Tell(Event& event, const py::list& told) {
  const bool is_call = event.kind == Event::kCall;
  constexpr Py_ssize_t kSaid = 2;
  const py::object made = Made(PyTuple_New(is_call ? 4 : 3));
  const auto set = [&made](Py_ssize_t place, py::object value) {
    PyTuple_SET_ITEM(made.ptr(), place, value.release().ptr());
  };
  set(0, Made(PyLong_FromLong(event.kind)));
  set(1, Made(PyLong_FromVoidPtr(event.call.get())));
  Handle* handle = nullptr;
  if (is_call) {
    auto owned = std::make_unique<Handle>();
    handle = owned.get();
    set(3, py::cast(std::move(owned)));
  }
  if (PyList_Append(told.ptr(), made.ptr()) != 0) throw py::error_already_set();
  const bool has_message = (is_call && event.call->unary) || event.kind == Event::kRead;
  // Nobody sees the tuple without it.
  set(kSaid, has_message ? MessageOf(event.said, *event.call) : py::bool_(event.said.ok));
  if (is_call) handle->Hold(std::move(event.call));
}

// Events as (kind, key, what was said), and of a call that came its handle: as many as there is memory for, the others
// the next time.
py::list Take(Server& server) {
  const auto told = py::reinterpret_steal<py::list>(Made(PyList_New(0)).release());
  auto events = server.Take();
  try {
    for (; !events.empty(); events.pop_front()) Tell(events.front(), told);
  } catch (const std::exception&) {
    server.PutBack(std::move(events));
  }
  return told;
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
         const std::vector<py::bytes>& clips, const py::bytes& tail, const Codes& codes, const Measures& measures) {
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
  prepared->sketch = SketchOf(codes, measures, rows, prepared->width);
  if (codes) prepared->keep_codes = Kept(*codes);
  if (measures) prepared->keep_measures = Kept(*measures);
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
  ClearDead();  // what made room
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
  module.attr("interface") = 13;  // memdb/native.py
  module.attr("grpc_version") = grpc::Version();
  py::class_<Handle>(module, "Call", py::custom_type_setup(&ThrowsWithoutMemory))
      .def_property_readonly("method", &Handle::method)
      .def_property_readonly("deadline_ns", &Handle::deadline_ns)
      .def_property_readonly("metadata", &Handle::metadata)
      .def_property_readonly("finished", &Handle::finished)
      .def("read", &Handle::Read, py::arg("clips") = false)
      .def("lend", &Handle::Lend)
      .def("await_clip", &Handle::Await, py::arg("lending"))
      .def("take_back", &Handle::TakeBack)
      .def("over", &Handle::Over, py::arg("given_back"))
      .def("write", &Handle::Write)
      .def("answer", &Handle::Answer)
      .def("finish", &Handle::Finish);
  module.def("write_together", &WriteTogether, py::arg("messages"));
  DefineListed(module);
  DefineMessage(module);
  DefineFew(module, &KernelsOf);
  DefineFiles(module);
  DefineIds(module);
  DefineSketch(module);
  DefineStretches(module);
  DefineCommit(module);
  DefineRows(module);
  DefineRun(module);
  DefinePlain(module);
  py::class_<Shelf, std::shared_ptr<Shelf>> shelf(module, "Shelf");
  DefineListed(shelf);
  shelf
      .def(py::init([](std::uintptr_t inner_products, const py::object& exp, std::size_t bytes_max) {
             return std::make_shared<Shelf>(KernelsOf(inner_products, exp), bytes_max);
           }),
           py::arg("inner_products"), py::arg("exp"), py::arg("bytes_max"))
      .def("put", &Put, py::arg("user"), py::arg("global_memory"), py::arg("keyframes"), py::arg("dim"),
           py::arg("whole").noconvert(), py::arg("start_ns"), py::arg("end_ns"), py::arg("alive"), py::arg("stream"),
           py::arg("streams"), py::arg("clips"), py::arg("tail"), py::arg("codes").noconvert() = py::none(),
           py::arg("measures").noconvert() = py::none())
      .def("withdraw",
           [](Shelf& shelf, const std::string& user) {
             {
               py::gil_scoped_release released;
               shelf.Withdraw(user);
             }
             ClearDead();
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
             ClearDead();
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
  py::class_<Server>(module, "Server", py::release_gil_before_calling_cpp_dtor())
      .def(py::init<std::vector<Option>, const std::vector<std::pair<std::string, bool>>&, std::int64_t,
                    std::size_t, std::shared_ptr<Shelf>, std::pair<std::string, std::string>>(),
           py::arg("options"), py::arg("methods"), py::arg("calls_max"), py::arg("memory_max"),
           py::arg("shelf"), py::arg("shelved"))
      .def_property_readonly("fd", &Server::fd)
      .def(
          "start",
          [](Server& server, std::optional<std::pair<std::string, std::string>> pem) {
            py::gil_scoped_release released;
            if (!pem) return server.Start(nullptr);
            const Certificate certificate{pem->first, pem->second};
            return server.Start(&certificate);
          },
          py::arg("key_and_chain"))
      .def("adopt", &Server::Adopt, py::arg("connection"), py::call_guard<py::gil_scoped_release>())
      .def("take", &Take)
      .def("shutdown", &Server::Shutdown, py::arg("grace_s"), py::call_guard<py::gil_scoped_release>());
}
