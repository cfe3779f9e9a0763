// Clips as they come in the messages of an ingest, read and checked where they are plain: every field known and there
// once, and everything as a clip may be (memdb/types/clip.py).  Anything else is Python's to read, or to refuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace memdb_edge {

// All views are of the message.

struct Elements {
  std::string_view bytes;
  bool halves = false;  // float16, else float32
};

struct Tensor {
  std::uint64_t rows = 0, dim = 0;
  std::string_view payload;  // float16
  std::uint64_t checksum = 0;
};

struct Matrix {
  std::uint64_t rows = 0, dim = 0;
  std::string_view elements;  // float32
};

struct Utterance {
  std::int64_t start_ns = 0, end_ns = 0;
  std::string_view text;
  std::optional<std::string_view> speaker, language;
};

struct Sound {
  std::int64_t start_ns = 0, end_ns = 0;
  std::string_view label;
  double score = 0.0;
};

struct Keyframe {
  std::int64_t time_ns = 0;
  std::string_view jpeg;
};

struct Label {
  std::string_view key, value;
};

struct PlainClip {
  std::uint64_t seq = 0, epoch = 0;
  std::int64_t start_ns = 0, end_ns = 0;
  Elements global_memory;
  std::optional<Tensor> short_memory;
  std::optional<double> frames_per_token_row;
  std::vector<Utterance> transcript;
  std::optional<Matrix> transcript_features;
  std::vector<Sound> events;
  std::vector<Keyframe> keyframes;
  std::vector<Label> labels;  // by key, as their bytes are ordered
  bool sealed = false;
};

// The clips of an IngestClipsRequest, at least one; nothing where it is not plain, or where to make Python's values of
// it would take longer than a fraction of a millisecond.
std::optional<std::vector<PlainClip>> ReadClips(std::string_view message);

}  // namespace memdb_edge
