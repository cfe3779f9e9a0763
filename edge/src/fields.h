// The fields of a message, read off its bytes one after the other; more strictly than protobuf, which says of the rest
// what it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace memdb_edge {

// Wire types.
constexpr int kVarint = 0;
constexpr int kFixed64 = 1;
constexpr int kBytes = 2;

class Reader {
 public:
  Reader(const char* begin, std::size_t length) : at_(begin), end_(begin + length) {}
  explicit Reader(std::string_view data) : Reader(data.data(), data.size()) {}

  bool done() const { return at_ == end_; }
  // A tag or a length: one that is written longer than it need be is let be up to here; protobuf refuses longer ones.
  bool Short(std::uint64_t* value) { return Varint(value, 5); }
  bool Varint(std::uint64_t* value, int bytes_max = 10) {
    *value = 0;
    for (int shift = 0; shift < 7 * bytes_max; shift += 7) {
      if (at_ == end_) return false;
      const auto byte = static_cast<std::uint8_t>(*at_++);
      if (shift == 63 && byte > 1) return false;
      *value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Fixed64(std::uint64_t* value) {
    if (end_ - at_ < 8) return false;
    std::memcpy(value, at_, 8);
    at_ += 8;
    return true;
  }
  bool Bytes(std::string_view* value) {
    std::uint64_t length;
    if (!Short(&length) || length > static_cast<std::uint64_t>(end_ - at_)) return false;
    *value = std::string_view(at_, length);
    at_ += length;
    return true;
  }

 private:
  const char* at_;
  const char* end_;
};

// A number of type sint64.
inline std::int64_t Signed(std::uint64_t zigzag) {
  return static_cast<std::int64_t>(zigzag >> 1) ^ -static_cast<std::int64_t>(zigzag & 1);
}

}  // namespace memdb_edge
