#include "stored.h"

#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace memdb_edge {

namespace {

constexpr char kMagic[4] = {'m', 'd', 'b', 'v'};
constexpr char kVersion = 1;
constexpr std::size_t kPrefixBytes = 24;  // of a header, before its checksum

template <typename Number>
char* PutLittle(Number number, char* to) {
  for (std::size_t place = 0; place < sizeof(number); ++place) {
    *to++ = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * place));
  }
  return to;
}

template <typename Number>
char* PutBig(Number number, char* to) {
  for (std::size_t place = sizeof(number); place-- != 0;) {
    *to++ = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * place));
  }
  return to;
}

// msgpack (github.com/msgpack/msgpack, spec.md), each value in the fewest bytes.
class Packed {
 public:
  explicit Packed(char* to) : at_(to) {}

  char* end() const { return at_; }
  void None() { Byte(0xc0); }
  void False() { Byte(0xc2); }
  void True() { Byte(0xc3); }
  void EmptyMap() { Byte(0x80); }
  void Array(std::size_t count) {
    if (count < 16) {
      Byte(0x90 | count);
    } else {
      Byte(0xdc);
      at_ = PutBig(static_cast<std::uint16_t>(count), at_);
    }
  }
  void Unsigned(std::uint64_t number) {
    if (number < 0x80) {
      Byte(number);
    } else if (number <= 0xff) {
      Byte(0xcc);
      Byte(number);
    } else if (number <= 0xffff) {
      Byte(0xcd);
      at_ = PutBig(static_cast<std::uint16_t>(number), at_);
    } else if (number <= 0xffffffff) {
      Byte(0xce);
      at_ = PutBig(static_cast<std::uint32_t>(number), at_);
    } else {
      Byte(0xcf);
      at_ = PutBig(number, at_);
    }
  }
  void Signed(std::int64_t number) {
    if (number >= 0) return Unsigned(static_cast<std::uint64_t>(number));
    if (number >= -32) {
      Byte(static_cast<std::uint64_t>(number));
    } else if (number >= INT8_MIN) {
      Byte(0xd0);
      Byte(static_cast<std::uint64_t>(number));
    } else if (number >= INT16_MIN) {
      Byte(0xd1);
      at_ = PutBig(static_cast<std::uint16_t>(number), at_);
    } else if (number >= INT32_MIN) {
      Byte(0xd2);
      at_ = PutBig(static_cast<std::uint32_t>(number), at_);
    } else {
      Byte(0xd3);
      at_ = PutBig(static_cast<std::uint64_t>(number), at_);
    }
  }
  void Double(double number) {
    std::uint64_t bits;
    std::memcpy(&bits, &number, sizeof(bits));
    Byte(0xcb);
    at_ = PutBig(bits, at_);
  }
  void Text(std::string_view text) {  // below 32 bytes
    Byte(0xa0 | text.size());
    Copy(text.data(), text.size());
  }
  void Bytes(const unsigned char* bytes, std::size_t count) {  // below 256
    Byte(0xc4);
    Byte(count);
    Copy(bytes, count);
  }
  void Frames(const std::optional<double>& frames) {
    if (frames) {
      Double(*frames);
    } else {
      None();
    }
  }

 private:
  void Byte(std::uint64_t byte) { *at_++ = static_cast<char>(byte); }
  void Copy(const void* bytes, std::size_t count) {
    std::memcpy(at_, bytes, count);
    at_ += count;
  }

  char* at_;
};

}  // namespace

Content ContentOf(const StoredClip& clip) {
  char buffer[kRecordBytesMax];
  Packed said(buffer);
  said.Array(10);
  said.Signed(clip.start_ns);
  said.Signed(clip.end_ns);
  said.True();
  said.Frames(clip.frames_per_token_row);
  said.Array(0);
  said.Array(0);
  said.EmptyMap();
  said.Array(0);
  said.Text(clip.halves ? "float16" : "float32");
  if (clip.tensor) {
    said.Array(3);
    said.Unsigned(clip.tensor->codec);
    said.Array(2);
    said.Unsigned(clip.tensor->rows);
    said.Unsigned(clip.tensor->dim);
    said.Unsigned(clip.tensor->checksum);
  } else {
    said.None();
  }
  const std::size_t length = static_cast<std::size_t>(said.end() - buffer);
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  XXH3_128bits_update(&state, buffer, length);
  XXH3_128bits_update(&state, clip.vector.data(), clip.vector.size());
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
  Content content;
  static_assert(sizeof(canonical.digest) == kContentBytes);
  std::memcpy(content.data(), canonical.digest, kContentBytes);
  return content;
}

std::uint64_t VectorContentOf(const StoredClip& clip) { return XXH3_64bits(clip.vector.data(), clip.vector.size()); }

void PutVersionKey(const StoredPlace& place, char* key) { PutBig(place.birth, PutBig(place.clip_no, key)); }

void PutVectorKey(const StoredPlace& place, char* key) {
  PutBig(place.birth, PutBig(place.clip_no, PutBig(place.space_no, key)));
}

void PutLedgerKey(const StoredClip& clip, const StoredPlace& place, char* key) {
  PutBig(clip.seq, PutBig(static_cast<std::uint32_t>(clip.epoch), PutBig(place.stream_no, key)));
}

std::size_t PutClipRecord(const StoredClip& clip, const StoredPlace& place, const Content& content, char* to) {
  Packed record(to);
  record.Array(16);
  record.Unsigned(place.stream_no);
  record.Unsigned(place.space_no);
  record.Unsigned(clip.epoch);
  record.Unsigned(clip.seq);
  record.Signed(clip.start_ns);
  record.Signed(clip.end_ns);
  record.True();
  record.Frames(clip.frames_per_token_row);
  record.Array(0);
  record.Array(0);
  record.EmptyMap();
  record.Unsigned(0);
  if (clip.tensor) {
    record.Array(5);
    record.Unsigned(clip.tensor->codec);
    record.Unsigned(clip.tensor->rows);
    record.Unsigned(clip.tensor->dim);
    record.Unsigned(clip.tensor->bytes);
    record.Unsigned(clip.tensor->checksum);
  } else {
    record.None();
  }
  record.None();
  record.Bytes(content.data(), content.size());
  record.False();
  return static_cast<std::size_t>(record.end() - to);
}

std::size_t PutLedgerRecord(const StoredPlace& place, const Content& content, char* to) {
  Packed record(to);
  record.Array(7);
  record.Unsigned(place.clip_no);
  record.Unsigned(place.birth);
  record.True();
  record.Bytes(content.data(), content.size());
  record.Unsigned(0);
  record.None();
  record.None();
  return static_cast<std::size_t>(record.end() - to);
}

void PutRow(const StoredClip& clip, const StoredPlace& place, char* to) {
  char* at = PutLittle(place.stream_no, to);
  at = PutLittle(static_cast<std::uint32_t>(clip.epoch), at);
  at = PutLittle(clip.seq, at);
  at = PutLittle(clip.start_ns, at);
  at = PutLittle(clip.end_ns, at);
  at = PutLittle(std::uint32_t{1}, at);  // sealed, and three bytes of nothing
  at = PutLittle(static_cast<std::uint32_t>(clip.tensor ? clip.tensor->bytes : 0), at);
  PutLittle(std::uint64_t{0}, at);  // keyframes, and nothing
}

void PutHeader(const Sealed& sealed, std::string_view key, std::string_view payload, char* to) {
  char said[kPrefixBytes + kVectorKeyBytes + 8];
  char* at = said;
  std::memcpy(at, kMagic, sizeof(kMagic));
  at += sizeof(kMagic);
  *at++ = kVersion;
  *at++ = static_cast<char>(sealed.kind);
  *at++ = static_cast<char>(sealed.coding);
  *at++ = 0;
  at = PutLittle(sealed.rows, at);
  at = PutLittle(sealed.dim, at);
  at = PutLittle(static_cast<std::uint64_t>(payload.size()), at);
  std::memcpy(at, key.data(), key.size());
  at = PutLittle(static_cast<std::uint64_t>(XXH3_64bits(payload.data(), payload.size())), at + key.size());
  const std::uint64_t checksum = XXH3_64bits(said, static_cast<std::size_t>(at - said));
  std::memcpy(to, said, kPrefixBytes);
  PutLittle(checksum, to + kPrefixBytes);
}

}  // namespace memdb_edge
