// Messages of a stream: which are asked for, on their way, and here.  One may be read ahead, and waits to be asked for;
// where room is short none is, since what finds none stays with gRPC, which ends connections once it has too much.
#pragma once

#include <grpcpp/support/byte_buffer.h>

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

 private:
  const std::shared_ptr<const Room> room_;
  mutable std::mutex mutex_;
  bool clips_ = false, asked_ = false, started_ = false;
  std::optional<Incoming> ready_;
};

}  // namespace memdb_edge
