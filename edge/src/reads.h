// Messages of a stream: which are asked for, on their way, and here.  One may be read ahead, and waits to be asked for;
// where room is short none is, since what finds none stays with gRPC, which ends connections once it has too much.
//
// What was asked for may be lent to a thread, which awaits it in the place of who asked: a lone clip that is small comes
// to the thread, anything else to who asked.  While the thread has one, nothing comes to who asked.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "message.h"
#include "room.h"

namespace memdb_edge {

struct Incoming {
  grpc::ByteBuffer message;
  std::unique_ptr<Message> read;  // in the place of it, where it was read
  bool ok = false;                // else there is none any more
};

// Any threads.
class Reads {
 public:
  explicit Reads(std::shared_ptr<const Room> room) : room_(std::move(room)) {}

  struct Asked {
    bool taken = false;            // whether it may be asked now: one at a time
    bool start = false;            // whether who asks is to begin to read
    std::optional<Incoming> here;  // what lay ready
  };
  // clips: what comes from now on is read as clips, and one ahead.
  Asked Ask(bool clips);
  bool clips() const;
  // One came; it is given back where it was asked for.  start: whether to begin to read the next.
  std::optional<Incoming> Came(Incoming came, bool* start);
  // Nothing more can be read; whether something was asked for.
  bool Stop();

  // Lend what was asked for; the number of the lending, 0 where it cannot be: it is here, or somebody has it.
  std::uint64_t Lend();
  // What came, for the thread of a lending; null where nothing will.
  std::unique_ptr<Message> Await(std::uint64_t lending);
  // End the lending; false where its thread has a message, or had one that is not over.
  bool TakeBack();
  // What came to the thread is over; what is here of what was asked for.  given_back: it is who asked that has it now.
  Asked Over(bool given_back);

 private:
  const std::shared_ptr<const Room> room_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // for threads that await
  bool clips_ = false, asked_ = false, started_ = false;
  bool lent_ = false;  // what was asked for
  bool out_ = false;   // whether something came to a thread, and is not over
  std::uint64_t lending_ = 0;
  std::unique_ptr<Message> lone_;  // on its way to the thread
  std::optional<Incoming> ready_;
};

}  // namespace memdb_edge
