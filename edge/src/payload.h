// What is looked at in the elements of a clip as they came.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace memdb_edge {

// Shorter payloads are hashed another way, which is not ours.
constexpr std::size_t kPayloadBytesMin = 241;

struct Looked {
  std::uint64_t checksum;  // xxh3_64
  bool finite;             // whether no element is NaN or infinite
};

// Of a payload of float16 elements, at least kPayloadBytesMin bytes; plain: without the processor's own instructions.
Looked LookAt(const char* payload, std::size_t bytes, bool plain = false);

// xxh3_64 of bytes of a file; none where the file is shorter.  Throws `std::system_error`.
std::optional<std::uint64_t> ChecksumOf(int fd, std::uint64_t from, std::size_t bytes);

// Whether no element is NaN or infinite; elements may lie anywhere.
bool AreFiniteHalves(const char* elements, std::size_t count);
bool AreFiniteFloats(const char* elements, std::size_t count);

}  // namespace memdb_edge
