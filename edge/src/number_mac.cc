#include "number_mac.h"

namespace memdb_edge {

namespace {

using Words = std::array<std::uint64_t, 16>;
using State = std::array<std::uint64_t, 8>;

constexpr std::size_t kBlockBytes = 128, kRounds = 12, kOrders = 10, kMacBytes = 8;

// RFC 7693, 2.6 and 2.7.
constexpr State kBegin{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                       0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
constexpr std::uint8_t kOrder[kOrders][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

inline std::uint64_t Turned(std::uint64_t word, int bits) { return word >> bits | word << (64 - bits); }

// G of the RFC (3.1).
inline void Mix(std::uint64_t& a, std::uint64_t& b, std::uint64_t& c, std::uint64_t& d, std::uint64_t x,
                std::uint64_t y) {
  a += b + x;
  d = Turned(d ^ a, 32);
  c += d;
  b = Turned(b ^ c, 24);
  a += b + y;
  d = Turned(d ^ a, 16);
  c += d;
  b = Turned(b ^ c, 63);
}

// F of the RFC (3.2); so_far: bytes up to the end of the block.
void Compress(State& state, const Words& block, std::uint64_t so_far, bool is_last) {
  Words v;
  for (std::size_t at = 0; at < 8; ++at) {
    v[at] = state[at];
    v[at + 8] = kBegin[at];
  }
  v[12] ^= so_far;
  if (is_last) v[14] = ~v[14];
  for (std::size_t round = 0; round < kRounds; ++round) {
    const std::uint8_t* order = kOrder[round % kOrders];
    Mix(v[0], v[4], v[8], v[12], block[order[0]], block[order[1]]);
    Mix(v[1], v[5], v[9], v[13], block[order[2]], block[order[3]]);
    Mix(v[2], v[6], v[10], v[14], block[order[4]], block[order[5]]);
    Mix(v[3], v[7], v[11], v[15], block[order[6]], block[order[7]]);
    Mix(v[0], v[5], v[10], v[15], block[order[8]], block[order[9]]);
    Mix(v[1], v[6], v[11], v[12], block[order[10]], block[order[11]]);
    Mix(v[2], v[7], v[8], v[13], block[order[12]], block[order[13]]);
    Mix(v[3], v[4], v[9], v[14], block[order[14]], block[order[15]]);
  }
  for (std::size_t at = 0; at < 8; ++at) state[at] ^= v[at] ^ v[at + 8];
}

std::uint64_t Swapped(std::uint64_t word) {
  std::uint64_t swapped = 0;
  for (int byte = 0; byte < 8; ++byte) swapped = swapped << 8 | (word >> (8 * byte) & 0xff);
  return swapped;
}

}  // namespace

NumberMac::NumberMac(std::string_view key) : keyed_(kBegin) {
  keyed_[0] ^= 0x01010000 | key.size() << 8 | kMacBytes;
  if (key.empty()) return;
  Words block{};
  for (std::size_t at = 0; at < key.size(); ++at) {
    block[at / 8] |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(key[at])) << (8 * (at % 8));
  }
  before_ = kBlockBytes;
  Compress(keyed_, block, before_, false);
}

std::uint64_t NumberMac::Of(std::uint64_t number) const {
  State state = keyed_;
  const Words block{Swapped(number)};
  Compress(state, block, before_ + sizeof(number), true);
  return state[0];
}

}  // namespace memdb_edge
