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
  // Whether more than half of them are taken.
  bool is_short() const { return used_.load() > most_ / 2; }

 private:
  const std::size_t most_;
  std::atomic<std::size_t> used_{0};
};

}  // namespace memdb_edge
