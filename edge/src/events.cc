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
  bool tell;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(std::move(event));
    tell = !told_;
    told_ = true;
  }
  if (tell) {
    // The counter is 0 or 1, so this neither waits nor fails.
    const std::uint64_t one = 1;
    [[maybe_unused]] auto written = write(fd_, &one, sizeof(one));
  }
}

std::vector<Event> Events::Take() {
  std::uint64_t count;
  [[maybe_unused]] auto read_bytes = read(fd_, &count, sizeof(count));
  std::vector<Event> taken;
  std::lock_guard<std::mutex> lock(mutex_);
  taken.swap(waiting_);
  told_ = false;
  return taken;
}

}  // namespace memdb_edge
