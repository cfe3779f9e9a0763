// What takes long is done by threads of its own, users in turn: who asks a lot stands behind one answer to each other.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace memdb_edge {

// Any threads.
class Turns {
 public:
  // threads: so many there are, from the first work on.
  explicit Turns(unsigned threads) : most_(threads) {}
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  // Lets go of what nobody has begun, and waits for the rest; before it is destroyed, and by none of its threads.
  void End();

  // Has it done in a turn of the owner's; false where there is no thread to be had, and it is left to who asks.  Has
  // nothing done where it throws (std::bad_alloc).
  bool Do(const std::string& owner, std::function<void()> work);

 private:
  void Run();

  const unsigned most_;
  std::mutex mutex_;
  std::condition_variable some_;
  std::unordered_map<std::string, std::deque<std::function<void()>>> waiting_;
  std::list<std::string> next_;  // owners of which something waits
  std::vector<std::thread> threads_;
  bool ended_ = false;
};

}  // namespace memdb_edge
