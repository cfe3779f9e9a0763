// xxh3_64 without a seed, after its specification (github.com/Cyan4973/xxHash): eight sums, a stripe of 64 bytes after
// the other, scrambled after each block of sixteen stripes.  What is short is left to xxHash's header; of what is
// long that asks for the processor's own instructions as it is compiled, and these are found as it runs: they take a
// sixth less.
#include "payload.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "clones.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace memdb_edge {

namespace {

constexpr std::size_t kStripe = 64;
constexpr std::size_t kSums = 8;
constexpr std::size_t kSecretBytes = 192;
constexpr std::size_t kSecretStep = 8;  // between stripes
constexpr std::size_t kBlockStripes = (kSecretBytes - kStripe) / kSecretStep;
constexpr std::size_t kBlock = kBlockStripes * kStripe;
constexpr std::size_t kPieceBytes = 1 << 19;  // of a file: as much as a core's cache holds
constexpr std::size_t kSecretLast = kSecretBytes - kStripe - 7;  // of the last stripe
constexpr std::size_t kSecretMerge = 11;
constexpr std::uint64_t kPrime32[] = {0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D};
constexpr std::uint64_t kPrime64[] = {0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                                      0x27D4EB2F165667C5};
constexpr std::uint64_t kAvalanche = 0x165667919E3779F9;
constexpr std::uint16_t kExponent = 0x7C00;  // all ones: NaN or infinite

alignas(64) constexpr unsigned char kSecret[kSecretBytes] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

struct Sums {
  alignas(64) std::uint64_t of[kSums] = {kPrime32[2], kPrime64[0], kPrime64[1], kPrime64[2],
                                         kPrime64[3], kPrime32[1], kPrime64[4], kPrime32[0]};
};

std::uint64_t Read64(const void* at) {
  std::uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

// Takes stripes, one after the other; whether all their elements are finite.
using Take = bool (*)(Sums*, const char* stripes, const unsigned char* secret, std::size_t count);

bool PlainTake(Sums* sums, const char* stripes, const unsigned char* secret, std::size_t count) {
  // An exponent of all ones is the only one that carries into the bit above it.
  constexpr std::uint64_t exponents = 0x7C007C007C007C00, step = 0x0400040004000400, carried = 0x8000800080008000;
  std::uint64_t carries = 0;
  for (; count != 0; --count, stripes += kStripe, secret += kSecretStep) {
    for (std::size_t lane = 0; lane < kSums; ++lane) {
      const std::uint64_t data = Read64(stripes + 8 * lane), key = data ^ Read64(secret + 8 * lane);
      sums->of[lane ^ 1] += data;
      sums->of[lane] += (key & 0xFFFFFFFF) * (key >> 32);
      carries |= (data & exponents) + step;
    }
  }
  return (carries & carried) == 0;
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) bool WideTake(Sums* sums, const char* stripes, const unsigned char* secret,
                                              std::size_t count) {
  auto* place = reinterpret_cast<__m256i*>(sums->of);
  __m256i sum[2] = {_mm256_load_si256(place), _mm256_load_si256(place + 1)};
  const __m256i ones = _mm256_set1_epi16(kExponent);
  __m256i found = _mm256_setzero_si256();
  for (; count != 0; --count, stripes += kStripe, secret += kSecretStep) {
    for (int half = 0; half < 2; ++half) {
      const __m256i data = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(stripes) + half);
      const __m256i key =
          _mm256_xor_si256(data, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(secret) + half));
      const __m256i product = _mm256_mul_epu32(key, _mm256_srli_epi64(key, 32));
      const __m256i swapped = _mm256_shuffle_epi32(data, _MM_SHUFFLE(1, 0, 3, 2));
      sum[half] = _mm256_add_epi64(sum[half], _mm256_add_epi64(product, swapped));
      found = _mm256_or_si256(found, _mm256_cmpeq_epi16(_mm256_and_si256(data, ones), ones));
    }
  }
  _mm256_store_si256(place, sum[0]);
  _mm256_store_si256(place + 1, sum[1]);
  return _mm256_testz_si256(found, found) != 0;
}

Take WidestTake() { return __builtin_cpu_supports("avx2") ? &WideTake : &PlainTake; }

#else

Take WidestTake() { return &PlainTake; }

#endif

void Scramble(Sums* sums) {
  for (std::size_t lane = 0; lane < kSums; ++lane) {
    std::uint64_t& sum = sums->of[lane];
    sum = (sum ^ sum >> 47 ^ Read64(kSecret + kSecretBytes - kStripe + 8 * lane)) * kPrime32[0];
  }
}

std::uint64_t Folded(std::uint64_t left, std::uint64_t right) {
  const unsigned __int128 product = static_cast<unsigned __int128>(left) * right;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t Merged(const Sums& sums, std::size_t bytes) {
  std::uint64_t hash = bytes * kPrime64[0];
  for (std::size_t lane = 0; lane < kSums; lane += 2) {
    const unsigned char* secret = kSecret + kSecretMerge + 8 * lane;
    hash += Folded(sums.of[lane] ^ Read64(secret), sums.of[lane + 1] ^ Read64(secret + 8));
  }
  hash = (hash ^ hash >> 37) * kAvalanche;
  return hash ^ hash >> 32;
}

MEMDB_CLONES bool AreFinite16(const std::uint16_t* bits, std::size_t count) {
  std::uint16_t found = 0;
  for (std::size_t place = 0; place < count; ++place) found |= (bits[place] & kExponent) == kExponent;
  return found == 0;
}

MEMDB_CLONES bool AreFinite32(const std::uint32_t* bits, std::size_t count) {
  std::uint32_t found = 0;
  for (std::size_t place = 0; place < count; ++place) found |= (bits[place] & 0x7F800000) == 0x7F800000;
  return found == 0;
}

// Elements are copied in pieces to where numbers may lie.
constexpr std::size_t kPiece = 1024;

template <typename Bits>
bool AreFinite(const char* elements, std::size_t count, bool (*are_finite)(const Bits*, std::size_t)) {
  Bits piece[kPiece];
  while (count != 0) {
    const std::size_t some = count < kPiece ? count : kPiece;
    std::memcpy(piece, elements, some * sizeof(Bits));
    if (!are_finite(piece, some)) return false;
    elements += some * sizeof(Bits);
    count -= some;
  }
  return true;
}

// Whether the file has so many.
bool ReadAll(int fd, std::uint64_t from, std::size_t bytes, char* to) {
  for (std::size_t read = 0; read < bytes;) {
    const ssize_t count = pread(fd, to + read, bytes - read, static_cast<off_t>(from + read));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw std::system_error(errno, std::generic_category());
    if (count == 0) return false;
    read += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

Looked LookAt(const char* payload, std::size_t bytes, bool plain) {
  static const Take widest = WidestTake();
  const Take take = plain ? &PlainTake : widest;
  Sums sums;
  bool finite = true;
  const std::size_t blocks = (bytes - 1) / kBlock;
  for (std::size_t block = 0; block < blocks; ++block) {
    finite &= take(&sums, payload + block * kBlock, kSecret, kBlockStripes);
    Scramble(&sums);
  }
  const std::size_t left = (bytes - 1 - blocks * kBlock) / kStripe;
  finite &= take(&sums, payload + blocks * kBlock, kSecret, left);
  // The last one ends with the payload, over some of the one before it.
  finite &= take(&sums, payload + bytes - kStripe, kSecret + kSecretLast, 1);
  return {Merged(sums, bytes), finite};
}

std::optional<std::uint64_t> ChecksumOf(int fd, std::uint64_t from, std::size_t bytes) {
  if (bytes < kPayloadBytesMin) {
    char few[kPayloadBytesMin];
    if (!ReadAll(fd, from, bytes, few)) return std::nullopt;
    return XXH3_64bits(few, bytes);
  }
  static const Take take = WidestTake();
  // Pieces are whole blocks; the last stripe may begin in the piece before.
  thread_local std::vector<char> held(kStripe + kPieceBytes);
  char* piece = held.data() + kStripe;
  Sums sums;
  std::size_t blocks = (bytes - 1) / kBlock;
  for (std::size_t left = bytes;; left -= kPieceBytes, from += kPieceBytes) {
    const std::size_t wanted = std::min(left, kPieceBytes);
    if (!ReadAll(fd, from, wanted, piece)) return std::nullopt;
    const std::size_t whole = std::min(blocks, wanted / kBlock);
    for (std::size_t block = 0; block < whole; ++block) {
      take(&sums, piece + block * kBlock, kSecret, kBlockStripes);
      Scramble(&sums);
    }
    blocks -= whole;
    if (left == wanted) {
      take(&sums, piece + whole * kBlock, kSecret, (wanted - 1 - whole * kBlock) / kStripe);
      take(&sums, piece + wanted - kStripe, kSecret + kSecretLast, 1);
      return Merged(sums, bytes);
    }
    std::memcpy(held.data(), piece + kPieceBytes - kStripe, kStripe);
  }
}

bool AreFiniteHalves(const char* elements, std::size_t count) { return AreFinite(elements, count, &AreFinite16); }

bool AreFiniteFloats(const char* elements, std::size_t count) { return AreFinite(elements, count, &AreFinite32); }

}  // namespace memdb_edge
