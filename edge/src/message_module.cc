#include "message_module.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "payload.h"
#include "python_memory.h"
#include "run_module.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

constexpr std::size_t kLargeBytes = 64 << 10;
constexpr std::size_t kHeldBytes = 1 << 20;

// Of float16; the interpreter's lock is kept where all is sooner done than the lock handed over.
bool AreFinite(const py::buffer& halves) {
  Py_buffer view;
  if (PyObject_GetBuffer(halves.ptr(), &view, PyBUF_SIMPLE) != 0) throw py::error_already_set();
  const auto* elements = static_cast<const char*>(view.buf);
  const auto count = static_cast<std::size_t>(view.len) / 2;
  bool finite = false;
  if (static_cast<std::size_t>(view.len) <= kHeldBytes) {
    finite = AreFiniteHalves(elements, count);
  } else {
    py::gil_scoped_release released;
    finite = AreFiniteHalves(elements, count);
  }
  PyBuffer_Release(&view);
  return finite;
}

py::object BytesOf(std::string_view bytes) { return py::bytes(bytes.data(), bytes.size()); }

// Of UTF-8 that was looked at.
py::object TextOf(std::string_view text) {
  PyObject* made = PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

py::object TextOf(const std::optional<std::string_view>& text) { return text ? TextOf(*text) : py::none(); }

template <typename Item, typename Make>
py::tuple TupleOf(const std::vector<Item>& items, Make make) {
  py::tuple made(items.size());
  std::size_t place = 0;
  for (const auto& item : items) made[place++] = make(item);
  return made;
}

// What most clips have nothing of.
py::object PartsOf(const PlainClip& clip) {
  const auto& features = clip.transcript_features;
  if (clip.transcript.empty() && !features && clip.events.empty() && clip.keyframes.empty() && clip.labels.empty()) {
    return py::none();
  }
  return py::make_tuple(
      TupleOf(clip.transcript,
              [](const Utterance& said) {
                return py::make_tuple(said.start_ns, said.end_ns, TextOf(said.text), TextOf(said.speaker),
                                      TextOf(said.language));
              }),
      features ? py::object(py::make_tuple(features->rows, features->dim, BytesOf(features->elements))) : py::none(),
      TupleOf(clip.events,
              [](const Sound& sound) {
                return py::make_tuple(sound.start_ns, sound.end_ns, TextOf(sound.label), sound.score);
              }),
      TupleOf(clip.keyframes,
              [](const Keyframe& frame) { return py::make_tuple(frame.time_ns, BytesOf(frame.jpeg)); }),
      TupleOf(clip.labels,
              [](const Label& label) { return py::make_tuple(TextOf(label.key), TextOf(label.value)); }));
}

py::object TensorOf(const Message& message, const std::optional<Tensor>& tensor) {
  if (!tensor) return py::none();
  const auto begin = static_cast<std::size_t>(tensor->payload.data() - message.bytes().data());
  return py::make_tuple(tensor->rows, tensor->dim, begin, begin + tensor->payload.size(), tensor->checksum);
}

}  // namespace

py::list ClipsOf(const Message& message, std::size_t begin, std::size_t end) {
  py::list made;
  for (std::size_t place = begin; place < end; ++place) {
    const auto& clip = (*message.clips())[place];
    const auto& frames = clip.frames_per_token_row;
    made.append(py::make_tuple(clip.seq, clip.epoch, clip.start_ns, clip.end_ns, clip.sealed,
                               frames ? py::object(py::float_(*frames)) : py::none(),
                               BytesOf(clip.global_memory.bytes), clip.global_memory.halves,
                               TensorOf(message, clip.short_memory), PartsOf(clip)));
  }
  return made;
}

py::object Joined(const std::vector<std::string_view>& pieces) {
  std::size_t length = 0;
  for (const auto& piece : pieces) length += piece.size();
  PyObject* bytes = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(length));
  if (bytes == nullptr) throw py::error_already_set();
  char* to = PyBytes_AS_STRING(bytes);
  const auto copy = [&pieces, to] {
    char* place = to;
    for (const auto& piece : pieces) {
      if (piece.empty()) continue;
      std::memcpy(place, piece.data(), piece.size());
      place += piece.size();
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

void DefineMessage(py::module_& module) {
  py::class_<Message>(module, "PlainClips", py::buffer_protocol(), py::custom_type_setup(&ThrowsWithoutMemory))
      .def_buffer([](Message& message) {
        const auto bytes = message.bytes();
        return py::buffer_info(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                               static_cast<py::ssize_t>(bytes.size()), true);
      })
      .def("__len__", [](const Message& message) { return message.bytes().size(); })
      .def("clips", [](const Message& message) { return ClipsOf(message, 0, message.clips()->size()); })
      .def(
          "runs",
          [](const py::object& its, std::uint64_t epoch) {
            return RunsOf(its, py::cast<const Message&>(its), epoch);
          },
          py::arg("epoch"));
  module.def("look_at", [](const py::bytes& payload, bool plain) {
    const std::string_view data(payload);
    if (data.size() < kPayloadBytesMin) throw py::value_error("payload");
    const Looked looked = LookAt(data.data(), data.size(), plain);
    return py::make_tuple(looked.checksum, looked.finite);
  });
  module.def("are_finite", &AreFinite);
  module.def("read_clips", [](const py::bytes& data) -> py::object {
    auto message = std::make_unique<Message>(std::string_view(data));
    return message->clips() ? ObjectOf(std::move(message)) : py::none();
  });
}

py::object ObjectOf(std::unique_ptr<Message> message) {
  message->Leave();
  return message->clips() ? py::cast(std::move(message)) : Joined({message->bytes()});
}

}  // namespace memdb_edge
