// What a commit hands to the one that waits behind it, once it has succeeded.
//
// Who waits begins at once, without the interpreter between the two commits; who handed it over learns of that when its
// own thread has the interpreter's lock again.  Whether it was handed over is decided once, and for good: as the commit
// ends, or by who comes before `Close`.
#pragma once

#include <pybind11/pybind11.h>

#include <condition_variable>
#include <mutex>

namespace memdb_edge {

// Any threads; one waits at a time.
class Baton {
 public:
  enum class Came { kHanded, kCalled, kEnded };

  // The commit has ended; made: whether it succeeded.  Once.  Returns once who waited, if anybody, is at work, or soon
  // after: of two processors who ends would keep one, and another thread the other, while the disk has nothing to do.
  void End(bool made) noexcept;
  // Wait for it.  kCalled: who waits was called back; kEnded: it is handed to nobody any more.
  Came Wait() noexcept;
  // Have who waits, or waits next, come back, unless it is handed over.
  void Call() noexcept;
  // Hand it to nobody from now on; whether it was handed over.
  bool Close() noexcept;
  // Whether somebody waits for it now.
  bool waited_for() noexcept;
  // Wait until the commit has ended.
  void WaitForEnd() noexcept;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool waiting_ = false;
  bool called_ = false;
  bool handed_ = false;
  bool ended_ = false;
  bool begun_ = false;  // whether who it was handed to is at work
  bool open_ = true;  // whether it may be handed over
};

void DefineBaton(pybind11::module_& module);

}  // namespace memdb_edge
