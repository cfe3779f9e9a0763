// What the store keeps of a clip that is nothing but vectors (memdb/store/plain_clips.py), to the byte, without a value of
// Python's for every field.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace memdb_edge {

constexpr std::size_t kContentBytes = 16;
constexpr std::size_t kHeaderBytes = 32;      // of an envelope: memdb/store/envelope.py
constexpr std::size_t kRowBytes = 48;         // memdb/store/rows.py
constexpr std::size_t kRecordBytesMax = 176;  // of one of a clip, and of one of the ledger
constexpr std::size_t kVersionKeyBytes = 16;
constexpr std::size_t kVectorKeyBytes = 20;
constexpr std::size_t kLedgerKeyBytes = 16;

struct StoredTensor {
  std::uint64_t codec = 0, rows = 0, dim = 0, bytes = 0, checksum = 0;
};

// Sealed.
struct StoredClip {
  std::uint64_t epoch = 0, seq = 0;
  std::int64_t start_ns = 0, end_ns = 0;
  std::optional<double> frames_per_token_row;
  std::string_view vector;  // of elsewhere
  bool halves = false;      // float16, else float32
  std::optional<StoredTensor> tensor;

  std::size_t dim() const { return vector.size() / (halves ? 2 : 4); }
};

// Where the store keeps a clip.
struct StoredPlace {
  std::uint32_t stream_no = 0, space_no = 0;
  std::uint64_t clip_no = 0, birth = 0;
};

using Content = std::array<unsigned char, kContentBytes>;

// xxh3_128 of all that its sender chose: memdb/store/content.py.
Content ContentOf(const StoredClip& clip);
// xxh3_64 of its vector.
std::uint64_t VectorContentOf(const StoredClip& clip);

void PutVersionKey(const StoredPlace& place, char* key);
void PutVectorKey(const StoredPlace& place, char* key);
void PutLedgerKey(const StoredClip& clip, const StoredPlace& place, char* key);

// Payloads; the bytes of a record that were written.
std::size_t PutClipRecord(const StoredClip& clip, const StoredPlace& place, const Content& content, char* to);
std::size_t PutLedgerRecord(const StoredPlace& place, const Content& content, char* to);
void PutRow(const StoredClip& clip, const StoredPlace& place, char* to);

// The envelope of a payload that lies behind it.
struct Sealed {
  int kind = 0, coding = 0;
  std::uint32_t rows = 0, dim = 0;
};
constexpr int kRecordKind = 1, kRowKind = 2;
void PutHeader(const Sealed& sealed, std::string_view key, std::string_view payload, char* to);

}  // namespace memdb_edge
