#include "request_id.h"

#include <cstdint>
#include <random>

namespace memdb_edge {

namespace {

constexpr std::size_t kCharsMax = 64;
constexpr const char* kChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

std::string Made() {
  thread_local std::mt19937_64 random(std::random_device{}());
  constexpr char digits[] = "0123456789abcdef";
  std::string id;
  for (std::uint64_t left = random(), place = 0; place < 16; ++place, left >>= 4) id.push_back(digits[left & 15]);
  return id;
}

}  // namespace

std::string RequestId(const Metadata& metadata) {
  const std::string* told = nullptr;
  for (const auto& [key, value] : metadata) {
    if (key == kRequestIdKey) told = &value;
  }
  const bool sane = told != nullptr && !told->empty() && told->size() <= kCharsMax &&
                    told->find_first_not_of(kChars) == std::string::npos;
  return sane ? *told : Made();
}

}  // namespace memdb_edge
