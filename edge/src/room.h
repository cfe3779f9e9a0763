// Bytes that there may be of something, for all who take some.
#pragma once

#include <atomic>
#include <cstddef>

namespace memdb_edge {

class Room {
 public:
  explicit Room(std::size_t most) : most_(most) {}
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  bool Take(std::size_t bytes) {
    if (used_.fetch_add(bytes) + bytes <= most_) return true;
    Give(bytes);
    return false;
  }
  void Give(std::size_t bytes) { used_.fetch_sub(bytes); }

 private:
  const std::size_t most_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace memdb_edge
