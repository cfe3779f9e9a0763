// Places of which each owner may have so many that others find some: memdb/server/shares.py.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace memdb_edge {

// Any threads.
class Shares {
 public:
  // One that is taken, given back when it goes.
  class Place {
   public:
    Place(std::shared_ptr<Shares> shares, std::string owner) : shares_(std::move(shares)), owner_(std::move(owner)) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() { shares_->Give(owner_); }

   private:
    const std::shared_ptr<Shares> shares_;
    const std::string owner_;
  };

  explicit Shares(std::size_t most) : most_(most) {}
  Shares(const Shares&) = delete;
  Shares& operator=(const Shares&) = delete;

  // Null where the owner has its share.  Has nothing taken where it throws (std::bad_alloc).
  static std::unique_ptr<Place> Take(const std::shared_ptr<Shares>& shares, std::string_view owner);

 private:
  bool Take(const std::string& owner);
  void Give(const std::string& owner);

  const std::size_t most_;
  std::mutex mutex_;
  std::unordered_map<std::string, std::size_t> held_;
  std::size_t total_ = 0;
};

}  // namespace memdb_edge
