#include "reads.h"

#include <cstddef>
#include <utility>

namespace memdb_edge {

namespace {

// Of what comes to a thread: what one may bring that nobody counts.
constexpr std::size_t kLoneBytesMax = 1 << 20;

bool IsLone(const Incoming& came) {
  return came.ok && came.read && came.read->clips() && came.read->clips()->size() == 1 &&
         came.read->bytes().size() <= kLoneBytesMax;
}

}  // namespace

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
  if (std::exchange(lent_, false)) {
    changed_.notify_all();
    if (IsLone(came)) {
      lone_ = std::move(came.read);
      out_ = started_ = *start = true;  // who asked has nothing yet
      return std::nullopt;
    }
  }
  if (out_) {
    started_ = *start = false;
    ready_ = std::move(came);
    return std::nullopt;
  }
  const bool was_asked = std::exchange(asked_, false);
  started_ = *start = was_asked && clips_ && came.ok && !room_->is_short();
  if (was_asked) return came;
  ready_ = std::move(came);
  return std::nullopt;
}

bool Reads::Stop() {
  std::lock_guard<std::mutex> lock(mutex_);
  started_ = false;
  if (std::exchange(lent_, false)) changed_.notify_all();
  if (out_) {
    ready_.emplace();  // there is none any more
    return false;
  }
  return std::exchange(asked_, false);
}

std::uint64_t Reads::Lend() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!asked_ || lent_ || out_) return 0;
  lent_ = true;
  return ++lending_;
}

std::unique_ptr<Message> Reads::Await(std::uint64_t lending) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this, lending] { return lending != lending_ || !lent_; });
  // Of a lending that was taken back the next may have something.
  return lending == lending_ ? std::move(lone_) : nullptr;
}

bool Reads::TakeBack() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (std::exchange(lent_, false)) changed_.notify_all();
  return !out_;
}

Reads::Asked Reads::Over(bool given_back) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!std::exchange(out_, false)) return {};
  Asked asked{true, false, std::nullopt};
  if (given_back) {
    asked_ = false;
  } else if (ready_) {
    asked_ = false;
    asked.here = std::exchange(ready_, std::nullopt);
    asked.start = started_ = asked.here->ok && !room_->is_short();
  }
  return asked;
}

}  // namespace memdb_edge
