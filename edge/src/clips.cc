#include "clips.h"

#include <algorithm>
#include <utility>

namespace memdb_edge {

namespace {

constexpr std::size_t kBesideBytes = 160;  // about what a clip takes beside its bytes
constexpr std::size_t kShare = 64;         // a clip that takes more than this part of the room is not kept
constexpr std::size_t kGoneMax = 4096;     // of users that are gone, beside as many as are here

}  // namespace

void ClipRoom::Enter(const std::shared_ptr<Clips>& clips, std::uint32_t row, std::size_t size) {
  std::lock_guard lock(mutex_);
  came_.push_back({clips, row, size});
  while (bytes_.load() > bytes_max_ && !came_.empty()) {
    const Came oldest = std::move(came_.front());
    came_.pop_front();
    if (const auto its = oldest.clips.lock()) its->Drop(oldest.row, oldest.size);
  }
  if (came_.size() > 2 * count_.load() + kGoneMax) {
    const auto gone = std::remove_if(came_.begin(), came_.end(), [](const Came& one) { return one.clips.expired(); });
    came_.erase(gone, came_.end());
  }
}

void ClipRoom::Forget(std::size_t bytes, std::size_t count) {
  bytes_.fetch_sub(bytes);
  count_.fetch_sub(count);
}

Clips::~Clips() { room_->Forget(bytes_, clips_.size()); }

void Clips::Put(std::uint32_t row, std::string clip) {
  const std::size_t size = clip.size() + kBesideBytes;
  if (size > room_->bytes_max_ / kShare) return;
  {
    std::unique_lock lock(mutex_);
    if (!clips_.emplace(row, std::make_shared<const std::string>(std::move(clip))).second) return;
    bytes_ += size;
    room_->bytes_.fetch_add(size);
    room_->count_.fetch_add(1);
  }
  room_->Enter(shared_from_this(), row, size);
}

std::vector<std::shared_ptr<const std::string>> Clips::Find(const std::vector<std::uint32_t>& rows,
                                                            std::vector<std::uint32_t>* missing) const {
  std::vector<std::shared_ptr<const std::string>> found;
  found.reserve(rows.size());
  std::shared_lock lock(mutex_);
  for (const std::uint32_t row : rows) {
    const auto its = clips_.find(row);
    if (its == clips_.end()) {
      missing->push_back(row);
    } else {
      found.push_back(its->second);
    }
  }
  return found;
}

void Clips::Drop(std::uint32_t row, std::size_t size) {
  std::unique_lock lock(mutex_);
  if (clips_.erase(row) == 0) return;
  bytes_ -= size;
  room_->Forget(size, 1);
}

}  // namespace memdb_edge
