// What happened to calls, in order, from gRPC's threads to Python's one.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <list>
#include <memory>
#include <mutex>

#include "call.h"
#include "reads.h"

namespace memdb_edge {

struct Event {
  enum Kind {
    kCall = 0,       // a call came; of one with one request, with it
    kRead = 1,       // the next message of a stream, or that there is none
    kWritten = 2,    // gRPC took a message, or the caller has left
    kCancelled = 3,  // the caller left, or the deadline passed
    kDone = 4,       // gRPC has done with the call
  };
  Kind kind;
  std::shared_ptr<Call::Shared> call;
  Incoming said;  // of what has no message, whether it went well
};

// A queue with a file descriptor that is readable while something is in it.
class Events {
 public:
  // Throws std::system_error where there is no descriptor left.
  Events();
  ~Events();
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  int fd() const { return fd_; }
  // Ends the process where there is no memory for it: a call whose event is lost hangs, and so does who stops.
  void Put(Event event) noexcept;
  // Everything since the last time.
  std::list<Event> Take() noexcept;
  // What nobody could be told comes first the next time, which is at once.
  void PutBack(std::list<Event> untold) noexcept;

 private:
  // Have the descriptor be readable.
  void Tell() noexcept;

  int fd_;
  std::mutex mutex_;
  std::list<Event> waiting_;  // a list, since to put back takes no memory
  bool told_ = false;
};

}  // namespace memdb_edge
