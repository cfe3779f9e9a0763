#include "run_module.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "message.h"
#include "message_module.h"
#include "python_memory.h"
#include "staging.h"
#include "stored.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

constexpr int kF16Codec = 1;  // of memdb/types/tensor.py

// Whether it begins with a zero: of a negative one no bit but the sign's is set.
bool BeginsWithZero(const StoredClip& clip) {
  std::uint32_t first = 0;
  std::memcpy(&first, clip.vector.data(), clip.halves ? 2 : 4);
  return (first & (clip.halves ? 0x7FFFU : 0x7FFFFFFFU)) == 0;
}

// Of a message, which lives as long.
class PlainRun {
 public:
  PlainRun(py::object message, std::size_t first) : message_(std::move(message)), first_(first) {}

  // Whether a clip is the next of it, and like the others.
  bool Takes(const PlainClip& clip) const {
    const StoredClip& last = clips_.back();
    return clip.seq == last.seq + 1 && clip.global_memory.halves == last.halves &&
           clip.global_memory.bytes.size() == last.vector.size();
  }

  void Add(const Message& message, const PlainClip& clip) {
    StoredClip added{clip.epoch, clip.seq, clip.start_ns, clip.end_ns, clip.frames_per_token_row,
                     clip.global_memory.bytes, clip.global_memory.halves, std::nullopt};
    std::size_t begin = 0;
    if (clip.short_memory) {
      const Tensor& tensor = *clip.short_memory;
      added.tensor = {kF16Codec, tensor.rows, tensor.dim, tensor.payload.size(), tensor.checksum};
      begin = static_cast<std::size_t>(tensor.payload.data() - message.bytes().data());
      payload_bytes_ += tensor.payload.size();
    }
    payload_bytes_ += added.vector.size();
    may_be_zero_ |= BeginsWithZero(added);
    begins_.push_back(begin);
    clips_.push_back(added);
  }

  std::uint64_t epoch() const { return clips_.front().epoch; }
  std::uint64_t first_seq() const { return clips_.front().seq; }
  std::size_t dim() const { return clips_.front().dim(); }
  bool is_half() const { return clips_.front().halves; }
  std::size_t count() const { return clips_.size(); }
  std::size_t payload_bytes() const { return payload_bytes_; }
  bool may_be_zero() const { return may_be_zero_; }
  py::object message() const { return message_; }
  py::list Clips() const { return ClipsOf(py::cast<const Message&>(message_), first_, first_ + count()); }

  py::tuple Stage(const py::dict& clips, const py::dict& vectors, const py::dict& short_memory, const py::dict& ledger,
                  std::uint32_t stream_no, std::uint32_t space_no, std::uint64_t first_no, std::uint64_t birth) const {
    const StagingTables tables{clips, vectors, short_memory, ledger};
    Staging staging(tables, count(), clips_.front().vector.size());
    py::object view;
    for (std::size_t index = 0; index < count(); ++index) {
      const StoredClip& clip = clips_[index];
      py::object payload;
      if (clip.tensor) {
        if (!view) view = Made(PyMemoryView_FromObject(message_.ptr()));
        payload = Part(view, begins_[index], begins_[index] + clip.tensor->bytes);
      }
      staging.Add(clip, {stream_no, space_no, first_no + index, birth}, ContentOf(clip), payload);
    }
    return staging.Told();
  }

 private:
  static py::object Part(const py::object& view, std::size_t begin, std::size_t end) {
    const py::object first = Made(PyLong_FromSize_t(begin)), last = Made(PyLong_FromSize_t(end));
    const py::object slice = Made(PySlice_New(first.ptr(), last.ptr(), nullptr));
    return Made(PyObject_GetItem(view.ptr(), slice.ptr()));
  }

  py::object message_;
  std::size_t first_;  // in the message
  std::vector<StoredClip> clips_;
  std::vector<std::size_t> begins_;  // of payloads, in the message
  std::size_t payload_bytes_ = 0;
  bool may_be_zero_ = false;
};

bool IsNothingButVectors(const PlainClip& clip) {
  return clip.sealed && clip.transcript.empty() && !clip.transcript_features && clip.events.empty() &&
         clip.keyframes.empty() && clip.labels.empty();
}

}  // namespace

py::object RunsOf(const py::object& its, const Message& message, std::uint64_t epoch) {
  const auto& clips = *message.clips();
  for (const auto& clip : clips) {
    if (clip.epoch != epoch || !IsNothingButVectors(clip)) return py::none();
  }
  py::list runs;
  std::unique_ptr<PlainRun> run;
  for (std::size_t place = 0; place < clips.size(); ++place) {
    if (!run || !run->Takes(clips[place])) {
      if (run) runs.append(py::cast(std::move(run)));
      run = std::make_unique<PlainRun>(its, place);
    }
    run->Add(message, clips[place]);
  }
  runs.append(py::cast(std::move(run)));
  return runs;
}

void DefineRun(py::module_& module) {
  py::class_<PlainRun>(module, "PlainRun", py::custom_type_setup(&ThrowsWithoutMemory))
      .def("__len__", &PlainRun::count)
      .def_property_readonly("epoch", &PlainRun::epoch)
      .def_property_readonly("first_seq", &PlainRun::first_seq)
      .def_property_readonly("dim", &PlainRun::dim)
      .def_property_readonly("is_half", &PlainRun::is_half)
      .def_property_readonly("may_be_zero", &PlainRun::may_be_zero)
      .def_property_readonly("payload_bytes", &PlainRun::payload_bytes)
      .def_property_readonly("message", &PlainRun::message)
      .def("clips", &PlainRun::Clips)
      .def("stage", &PlainRun::Stage, py::arg("clips"), py::arg("vectors"), py::arg("short_memory"), py::arg("ledger"),
           py::arg("stream_no"), py::arg("space_no"), py::arg("first_no"), py::arg("birth"));
}

}  // namespace memdb_edge
