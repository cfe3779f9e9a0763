#include "plain_clips.h"

#include <algorithm>
#include <cmath>

#include "fields.h"
#include "payload.h"

namespace memdb_edge {

namespace {

// Those of memdb/types/limits.py.
constexpr std::uint64_t kDimMax = 8192;
constexpr std::uint64_t kTokensMax = 65'536;
constexpr std::uint64_t kShortMemoryBytesMax = 12 << 20;
constexpr std::size_t kClipBytesMax = 15 << 20;
constexpr std::size_t kTextCharsMax = 16'384;
constexpr std::size_t kNameCharsMax = 1024;
constexpr std::size_t kKeyCharsMax = 64;
constexpr std::size_t kLabelsMax = 64;
constexpr std::size_t kKeyframesMax = 64;
constexpr std::size_t kKeyframeBytesMax = 1 << 20;
constexpr std::uint64_t kSeqMax = (std::uint64_t{1} << 63) - 1;
constexpr std::uint64_t kEpochMax = (std::uint64_t{1} << 32) - 1;
constexpr std::int64_t kTimeMax = std::int64_t{1} << 62;
constexpr double kFramesMax = 1e6;

// What Python makes of a message on its event loop: values one by one, and copies of what is not short-term memory.
constexpr std::size_t kClipsMax = 64;
constexpr std::size_t kItemsMax = 256;
constexpr std::size_t kTextBytesMax = 64 << 10;
constexpr std::size_t kCopiedBytesMax = 1 << 20;

constexpr int kF16 = 1;  // of TensorCodec

constexpr std::uint64_t Tag(std::uint64_t number, int type) { return number << 3 | static_cast<std::uint64_t>(type); }

// Whether a field is there for the first time; numbers below 64.
bool First(std::uint64_t tag, std::uint64_t* seen) {
  const std::uint64_t bit = std::uint64_t{1} << (tag >> 3 & 63);
  if ((*seen & bit) != 0) return false;
  *seen |= bit;
  return true;
}

// Characters of UTF-8; nothing where it is none, or has a lone surrogate.
std::optional<std::size_t> Characters(std::string_view text) {
  std::size_t count = 0;
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* end = at + text.size();
  while (at != end) {
    ++count;
    const std::uint32_t lead = *at++;
    if (lead < 0x80) continue;
    const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || end - at < more) return std::nullopt;
    std::uint32_t letter = lead & (0x3F >> more);
    for (int place = 0; place < more; ++place) {
      if ((*at & 0xC0) != 0x80) return std::nullopt;
      letter = letter << 6 | (*at++ & 0x3F);
    }
    const bool is_long = letter < (more == 3 ? 0x10000U : more == 2 ? 0x800U : 0x80U);
    if (is_long || letter > 0x10FFFF || (letter >= 0xD800 && letter < 0xE000)) return std::nullopt;
  }
  return count;
}

bool IsText(std::string_view text, std::size_t chars_max, bool may_be_empty = false) {
  if (text.empty()) return may_be_empty;
  const auto count = Characters(text);
  return count && *count <= chars_max;
}

bool ReadTime(Reader* reader, std::int64_t* time) {
  std::uint64_t value;
  if (!reader->Varint(&value)) return false;
  *time = Signed(value);
  return *time >= -kTimeMax && *time <= kTimeMax;
}

bool ReadDouble(Reader* reader, double* number) {
  std::uint64_t bits;
  if (!reader->Fixed64(&bits)) return false;
  std::memcpy(number, &bits, sizeof(bits));
  return true;
}

bool ReadVector(std::string_view data, Elements* elements) {
  Reader reader(data);
  std::uint64_t tag;
  if (!reader.Short(&tag) || (tag != Tag(1, kBytes) && tag != Tag(2, kBytes))) return false;
  if (!reader.Bytes(&elements->bytes) || !reader.done()) return false;
  elements->halves = tag == Tag(2, kBytes);
  const std::size_t size = elements->halves ? 2 : 4, count = elements->bytes.size() / size;
  if (count == 0 || count > kDimMax || count * size != elements->bytes.size()) return false;
  return elements->halves ? AreFiniteHalves(elements->bytes.data(), count)
                          : AreFiniteFloats(elements->bytes.data(), count);
}

bool ReadShape(std::string_view data, Tensor* tensor) {
  Reader reader(data);
  return reader.Short(&tensor->rows) && reader.Short(&tensor->dim) && reader.done();
}

// The fields of a message, each there once at most; `take` says of a tag and a reader behind it whether it is right.
template <typename Take>
bool ReadFields(std::string_view data, Take take) {
  Reader reader(data);
  std::uint64_t seen = 0, tag;
  while (!reader.done()) {
    if (!reader.Short(&tag) || !First(tag, &seen) || !take(tag, &reader)) return false;
  }
  return true;
}

bool ReadTensor(std::string_view data, Tensor* tensor) {
  std::uint64_t codec = 0;
  const auto take = [&codec, tensor](std::uint64_t tag, Reader* reader) {
    std::string_view shape;
    switch (tag) {
      case Tag(1, kVarint):
        return reader->Varint(&codec);
      case Tag(2, kBytes):
        return reader->Bytes(&shape) && ReadShape(shape, tensor);
      case Tag(3, kBytes):
        return reader->Bytes(&tensor->payload);
      case Tag(4, kFixed64):
        return reader->Fixed64(&tensor->checksum);
      default:
        return false;
    }
  };
  if (!ReadFields(data, take)) return false;
  if (codec != kF16 || tensor->rows == 0 || tensor->rows > kTokensMax || tensor->dim == 0 || tensor->dim > kDimMax) {
    return false;
  }
  const std::uint64_t size = tensor->rows * tensor->dim * 2;
  return size <= kShortMemoryBytesMax && size >= kPayloadBytesMin && size == tensor->payload.size();
}

bool ReadMatrix(std::string_view data, Matrix* matrix) {
  const auto take = [matrix](std::uint64_t tag, Reader* reader) {
    switch (tag) {
      case Tag(1, kVarint):
        return reader->Short(&matrix->rows);
      case Tag(2, kVarint):
        return reader->Short(&matrix->dim);
      case Tag(3, kBytes):
        return reader->Bytes(&matrix->elements);
      default:
        return false;
    }
  };
  if (!ReadFields(data, take)) return false;
  if (matrix->rows == 0 || matrix->rows > kTokensMax || matrix->dim == 0 || matrix->dim > kDimMax) return false;
  const std::uint64_t count = matrix->rows * matrix->dim;
  return count * 2 <= kShortMemoryBytesMax && count * 4 == matrix->elements.size() &&
         AreFiniteFloats(matrix->elements.data(), count);
}

bool ReadName(Reader* reader, std::optional<std::string_view>* name) {
  return reader->Bytes(&name->emplace()) && IsText(**name, kNameCharsMax);
}

bool ReadUtterance(std::string_view data, Utterance* utterance) {
  const auto take = [utterance](std::uint64_t tag, Reader* reader) {
    switch (tag) {
      case Tag(1, kVarint):
        return ReadTime(reader, &utterance->start_ns);
      case Tag(2, kVarint):
        return ReadTime(reader, &utterance->end_ns);
      case Tag(3, kBytes):
        return reader->Bytes(&utterance->text);
      case Tag(4, kBytes):
        return ReadName(reader, &utterance->speaker);
      case Tag(5, kBytes):
        return ReadName(reader, &utterance->language);
      default:
        return false;
    }
  };
  if (!ReadFields(data, take)) return false;
  return utterance->end_ns >= utterance->start_ns && IsText(utterance->text, kTextCharsMax);
}

bool ReadSound(std::string_view data, Sound* sound) {
  const auto take = [sound](std::uint64_t tag, Reader* reader) {
    switch (tag) {
      case Tag(1, kVarint):
        return ReadTime(reader, &sound->start_ns);
      case Tag(2, kVarint):
        return ReadTime(reader, &sound->end_ns);
      case Tag(3, kBytes):
        return reader->Bytes(&sound->label);
      case Tag(4, kFixed64):
        return ReadDouble(reader, &sound->score);
      default:
        return false;
    }
  };
  if (!ReadFields(data, take)) return false;
  return sound->end_ns >= sound->start_ns && IsText(sound->label, kNameCharsMax) && sound->score >= 0.0 &&
         sound->score <= 1.0;
}

bool ReadKeyframe(std::string_view data, Keyframe* keyframe) {
  const auto take = [keyframe](std::uint64_t tag, Reader* reader) {
    switch (tag) {
      case Tag(1, kVarint):
        return ReadTime(reader, &keyframe->time_ns);
      case Tag(2, kBytes):
        return reader->Bytes(&keyframe->jpeg);
      default:
        return false;
    }
  };
  if (!ReadFields(data, take)) return false;
  return !keyframe->jpeg.empty() && keyframe->jpeg.size() <= kKeyframeBytesMax;
}

bool ReadLabel(std::string_view data, Label* label) {
  const auto take = [label](std::uint64_t tag, Reader* reader) {
    switch (tag) {
      case Tag(1, kBytes):
        return reader->Bytes(&label->key);
      case Tag(2, kBytes):
        return reader->Bytes(&label->value);
      default:
        return false;
    }
  };
  if (!ReadFields(data, take)) return false;
  return IsText(label->key, kKeyCharsMax) && IsText(label->value, kNameCharsMax, true);
}

bool IsNamed(const Label& left, const Label& right) { return left.key == right.key; }
bool ComesBefore(const Label& left, const Label& right) { return left.key < right.key; }

class ClipReader {
 public:
  bool Read(std::string_view data, PlainClip* clip) {
    if (data.size() > kClipBytesMax) return false;
    Reader reader(data);
    std::uint64_t seen = 0, tag;
    while (!reader.done()) {
      if (!reader.Short(&tag)) return false;
      const std::uint64_t number = tag >> 3;
      const bool is_list = number == 8 || (number >= 10 && number <= 12);
      if (!is_list && !First(tag, &seen)) return false;
      if (!Take(tag, &reader, clip)) return false;
    }
    return IsRight(clip);
  }

 private:
  bool Take(std::uint64_t tag, Reader* reader, PlainClip* clip) {
    if ((tag & 7) == kBytes) {
      std::string_view part;
      return reader->Bytes(&part) && TakePart(tag >> 3, part, clip);
    }
    std::uint64_t sealed;
    double frames;
    switch (tag) {
      case Tag(1, kVarint):
        return reader->Varint(&clip->seq) && clip->seq <= kSeqMax;
      case Tag(2, kVarint):
        return reader->Varint(&clip->epoch) && clip->epoch <= kEpochMax;
      case Tag(3, kVarint):
        return ReadTime(reader, &clip->start_ns);
      case Tag(4, kVarint):
        return ReadTime(reader, &clip->end_ns);
      case Tag(7, kFixed64):
        if (!ReadDouble(reader, &frames)) return false;
        clip->frames_per_token_row = frames;
        return frames > 0.0 && frames <= kFramesMax;
      case Tag(13, kVarint):
        if (!reader->Varint(&sealed)) return false;
        clip->sealed = sealed == 1;
        return sealed <= 1;
      default:
        return false;
    }
  }

  bool TakePart(std::uint64_t number, std::string_view part, PlainClip* clip) {
    switch (number) {
      case 5:
        return Copied(part) && ReadVector(part, &clip->global_memory);
      case 6:
        return ReadTensor(part, &clip->short_memory.emplace());
      case 8:
        return Made(part) && ReadUtterance(part, &clip->transcript.emplace_back());
      case 9:
        return Copied(part) && ReadMatrix(part, &clip->transcript_features.emplace());
      case 10:
        return Made(part) && ReadSound(part, &clip->events.emplace_back());
      case 11:
        return ++items_ <= kItemsMax && Copied(part) && ReadKeyframe(part, &clip->keyframes.emplace_back());
      case 12:
        return Made(part) && ReadLabel(part, &clip->labels.emplace_back());
      default:
        return false;
    }
  }

  // What is seen of a clip as a whole, the payload last: everything else says no sooner.
  bool IsRight(PlainClip* clip) {
    const Elements& memory = clip->global_memory;
    if (memory.bytes.empty() || clip->end_ns < clip->start_ns) return false;
    if (clip->keyframes.size() > kKeyframesMax || clip->labels.size() > kLabelsMax) return false;
    if (clip->transcript_features && clip->transcript_features->rows != clip->transcript.size()) return false;
    std::sort(clip->labels.begin(), clip->labels.end(), ComesBefore);
    if (std::adjacent_find(clip->labels.begin(), clip->labels.end(), IsNamed) != clip->labels.end()) return false;
    if (!clip->short_memory) return true;
    const Tensor& tensor = *clip->short_memory;
    if (tensor.dim != memory.bytes.size() / (memory.halves ? 2 : 4)) return false;
    const Looked looked = LookAt(tensor.payload.data(), tensor.payload.size());
    return looked.finite && looked.checksum == tensor.checksum;
  }

  bool Made(std::string_view part) { return ++items_ <= kItemsMax && (texts_ += part.size()) <= kTextBytesMax; }
  bool Copied(std::string_view part) { return (copied_ += part.size()) <= kCopiedBytesMax; }

  std::size_t items_ = 0, texts_ = 0, copied_ = 0;  // of all clips so far
};

}  // namespace

std::optional<std::vector<PlainClip>> ReadClips(std::string_view message) {
  std::vector<PlainClip> clips;
  ClipReader clip_reader;
  Reader reader(message);
  while (!reader.done()) {
    std::uint64_t tag;
    std::string_view data;
    if (!reader.Short(&tag) || tag != Tag(2, kBytes) || !reader.Bytes(&data)) return std::nullopt;
    if (clips.size() == kClipsMax || !clip_reader.Read(data, &clips.emplace_back())) return std::nullopt;
  }
  if (clips.empty()) return std::nullopt;
  return clips;
}

}  // namespace memdb_edge
