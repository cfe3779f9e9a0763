#include "events.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

namespace memdb_edge {

Events::Events() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

Events::~Events() { close(fd_); }

void Events::Put(Event event) noexcept {
  std::list<Event> put;
  put.push_back(std::move(event));
  bool tell;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.splice(waiting_.end(), put);
    tell = !std::exchange(told_, true);
  }
  if (tell) Tell();
}

std::list<Event> Events::Take() noexcept {
  std::uint64_t count;
  [[maybe_unused]] auto read_bytes = read(fd_, &count, sizeof(count));
  std::list<Event> taken;
  std::lock_guard<std::mutex> lock(mutex_);
  taken.swap(waiting_);
  told_ = false;
  return taken;
}

void Events::PutBack(std::list<Event> untold) noexcept {
  if (untold.empty()) return;
  bool tell;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.splice(waiting_.begin(), untold);
    tell = !std::exchange(told_, true);
  }
  if (tell) Tell();
}

void Events::Tell() noexcept {
  // The counter is 0 or 1, so this neither waits nor fails.
  const std::uint64_t one = 1;
  [[maybe_unused]] auto written = write(fd_, &one, sizeof(one));
}

}  // namespace memdb_edge
