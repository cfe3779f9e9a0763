// The module memdb_edge: see memdb_edge.pyi.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <optional>

#include "server.h"

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

}  // namespace
}  // namespace memdb_edge

PYBIND11_MODULE(memdb_edge, module) {
  using namespace memdb_edge;
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
  py::class_<Server>(module, "Server")
      .def(py::init<std::vector<Option>, const std::vector<std::pair<std::string, bool>>&, std::int64_t>(),
           py::arg("options"), py::arg("methods"), py::arg("calls_max"))
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
