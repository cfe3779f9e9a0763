// BLAKE2b of RFC 7693 for one thing alone: eight bytes that only a key's holder can make of a number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace memdb_edge {

constexpr std::size_t kMacKeyBytesMax = 64;

class NumberMac {
 public:
  // key: `kMacKeyBytesMax` bytes at most
  explicit NumberMac(std::string_view key);
  // Of the number as eight bytes, the highest first; the lowest byte of what is returned is the first.
  std::uint64_t Of(std::uint64_t number) const;

 private:
  std::array<std::uint64_t, 8> keyed_;  // the state behind the key, which all numbers have in common
  std::uint64_t before_ = 0;            // bytes that it stands for
};

}  // namespace memdb_edge
