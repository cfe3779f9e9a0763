#include "turns.h"

#include <system_error>
#include <utility>

namespace memdb_edge {

void Turns::End() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
  }
  some_.notify_all();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  waiting_.clear();
}

bool Turns::Do(const std::string& owner, std::function<void()> work) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (ended_) return false;
  try {
    while (threads_.size() < most_) threads_.emplace_back([this] { Run(); });
  } catch (const std::system_error&) {
    if (threads_.empty()) return false;
  }
  const auto its = waiting_.try_emplace(owner).first;
  const bool is_first = its->second.empty();
  try {
    its->second.push_back(std::move(work));
    if (is_first) next_.push_back(owner);
  } catch (...) {
    if (is_first) waiting_.erase(its);
    throw;
  }
  some_.notify_one();
  return true;
}

void Turns::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    some_.wait(lock, [this] { return ended_ || !next_.empty(); });
    if (ended_) return;
    std::list<std::string> turn;
    turn.splice(turn.begin(), next_, next_.begin());
    const auto found = waiting_.find(turn.front());
    auto work = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) {
      waiting_.erase(found);
    } else {
      next_.splice(next_.end(), turn);  // takes no memory
    }
    lock.unlock();
    work();
    work = nullptr;  // what it holds is let go of without the lock
    lock.lock();
  }
}

}  // namespace memdb_edge
