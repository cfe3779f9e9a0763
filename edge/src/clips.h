// Clips as bytes: of large users those that hits had lately.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace memdb_edge {

class Clips;

// What all users' clips share: of more bytes than it has the oldest go.
class ClipRoom {
 public:
  explicit ClipRoom(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  friend class Clips;
  struct Came {
    std::weak_ptr<Clips> clips;
    std::uint32_t row;
    std::size_t size;
  };

  void Enter(const std::shared_ptr<Clips>& clips, std::uint32_t row, std::size_t size);
  void Forget(std::size_t bytes, std::size_t count);

  const std::size_t bytes_max_;
  std::mutex mutex_;
  std::deque<Came> came_;  // the oldest first; also some of users that are gone
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> count_{0};
};

// Those of one user, by row, as long as nothing of it is taken away. Any threads.
class Clips : public std::enable_shared_from_this<Clips> {
 public:
  explicit Clips(std::shared_ptr<ClipRoom> room) : room_(std::move(room)) {}
  Clips(const Clips&) = delete;
  ~Clips();

  void Put(std::uint32_t row, std::string clip);
  // The clip of each row, in their order; those that are not here are told.
  std::vector<std::shared_ptr<const std::string>> Find(const std::vector<std::uint32_t>& rows,
                                                       std::vector<std::uint32_t>* missing) const;

 private:
  friend class ClipRoom;
  void Drop(std::uint32_t row, std::size_t size);

  const std::shared_ptr<ClipRoom> room_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::uint32_t, std::shared_ptr<const std::string>> clips_;
  std::size_t bytes_ = 0;
};

}  // namespace memdb_edge
