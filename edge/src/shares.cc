#include "shares.h"

namespace memdb_edge {

namespace {

constexpr std::size_t kShare = 3;  // of what an owner leaves it may have so many times as much

}  // namespace

std::unique_ptr<Shares::Place> Shares::Take(const std::shared_ptr<Shares>& shares, std::string_view owner) {
  const std::string name(owner);
  if (!shares->Take(name)) return nullptr;
  try {
    return std::make_unique<Place>(shares, name);
  } catch (...) {
    shares->Give(name);
    throw;
  }
}

bool Shares::Take(const std::string& owner) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (total_ >= most_) return false;
  const auto found = held_.find(owner);
  const std::size_t left = most_ - total_ - 1;
  if (found == held_.end()) {
    held_.emplace(owner, 1);
  } else if (found->second + 1 > kShare * left) {
    return false;
  } else {
    ++found->second;
  }
  ++total_;
  return true;
}

void Shares::Give(const std::string& owner) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = held_.find(owner);
  --total_;
  if (--found->second == 0) held_.erase(found);
}

}  // namespace memdb_edge
