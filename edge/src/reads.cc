#include "reads.h"

#include <utility>

namespace memdb_edge {

Reads::Asked Reads::Ask(bool clips) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (asked_) return {};
  clips_ = clips;
  Asked asked{true, false, std::exchange(ready_, std::nullopt)};
  asked_ = !asked.here;
  // Behind the last there is nothing to read ahead.
  const bool reads = !asked.here || (asked.here->ok && !room_->is_short());
  if (!started_ && reads) started_ = asked.start = true;
  return asked;
}

bool Reads::clips() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return clips_;
}

std::optional<Incoming> Reads::Came(Incoming came, bool* start) {
  std::lock_guard<std::mutex> lock(mutex_);
  const bool was_asked = std::exchange(asked_, false);
  started_ = *start = was_asked && clips_ && came.ok && !room_->is_short();
  if (was_asked) return came;
  ready_ = std::move(came);
  return std::nullopt;
}

bool Reads::Stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  started_ = false;
  return std::exchange(asked_, false);
}

}  // namespace memdb_edge
