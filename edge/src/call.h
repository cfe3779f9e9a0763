// One call: a reactor of gRPC on one side, a handle of Python's on the other.
//
// gRPC calls the On... methods on threads of its own, several at once; none of them touches Python.  A reactor lives
// until OnDone, which gRPC calls once `Finish` was called and everything that was under way has ended.  Who ends a call
// (Python, the shelf, or the server that goes away) has taken it from `Shared` first, which gives it once: so it is
// ended exactly once, and there until then.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "order.h"
#include "reads.h"
#include "room.h"
#include "shares.h"

namespace memdb_edge {

class Calls;
class Events;
class Shelf;
class Turns;

using Metadata = std::vector<std::pair<std::string, std::string>>;

// What answers a call before Python hears of it.
struct Shelved {
  std::shared_ptr<const Shelf> shelf;  // null: nothing
  std::optional<std::string> (Shelf::*answer)(const char*, std::size_t) const = nullptr;
  std::size_t bytes_max = 0;  // longer requests are not looked at
  std::shared_ptr<Turns> turns;  // of answers that may take long; null of others
  std::shared_ptr<Shares> shares;  // of calls that it answers
};

// A message in one piece.
class Request {
 public:
  // Of no other message than this one; false where it has no one piece, which no message of gRPC lacks.
  bool Take(grpc::ByteBuffer* message);
  // What it was made of.
  void GiveBack(grpc::ByteBuffer* message) { message->Swap(&message_); }
  const char* data() const { return data_; }
  std::size_t size() const { return message_.Length(); }

 private:
  grpc::ByteBuffer message_;
  std::vector<grpc::Slice> slices_;
  std::string joined_;
  const char* data_ = nullptr;
};

class Call final : public grpc::ServerGenericBidiReactor {
 public:
  // What the other side is told by; gone only when both the reactor and Python have let go of it.
  class Shared;

  // room: of messages that are here and not with Python yet.
  Call(std::shared_ptr<Events> events, std::shared_ptr<Calls> calls, grpc::GenericCallbackServerContext* context,
       int method, bool unary, Shelved shelved, std::shared_ptr<Room> room);
  ~Call() override;

  // Read its request, or tell Python of it; once, when it is among the calls that are open.
  void Begin();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Begin to read the next message of a stream, as `Reads` says.
  void StartReading();
  // Send a message of a stream; false while one is on its way.
  bool Write(const grpc::ByteBuffer& message);
  // Whether a message is on its way.
  bool writing() const { return writing_.load(); }
  // Send the one answer, if any, and the end; for who has taken it.  Ends the process where there is no memory for it:
  // a call that is half ended hangs.
  void End(grpc::Status status, const Metadata& trailers, const grpc::ByteBuffer* answer) noexcept;
  // Let gRPC give it up; it is to be ended all the same.
  void Cancel() { context_->TryCancel(); }

  const std::shared_ptr<Shared>& shared() const { return shared_; }

 private:
  // Read the next message ahead.
  void ReadOn();
  // Have Python hear of it.
  void Tell(bool ok);
  // Answers what lies ready, now or in its turn; whether nobody else is to.  A call of an owner who has its share of
  // those is Python's, which says what there is to say.
  bool AnswerFromShelf();
  // Whether it is done in its turn.
  bool WaitForTurn(const std::shared_ptr<Request>& request);

  std::shared_ptr<Events> events_;
  std::shared_ptr<Calls> calls_;
  const Shelved shelved_;
  const std::shared_ptr<Room> room_;
  grpc::GenericCallbackServerContext* context_;
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Shares::Place> place_;  // while the shelf answers it, until gRPC has done with it
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  const bool unary_;
  std::atomic<bool> writing_{false};
  // Whether Python has heard of it, or will; whether its caller has left.  gRPC may tell of the second before the
  // first, and Python must not.
  static constexpr int kTold = 1, kLeft = 2;
  std::atomic<int> state_{0};
  Order started_, told_;
};

class Call::Shared {
 public:
  Shared(Call* call, int method, bool unary, std::int64_t deadline_ns, Metadata metadata,
         std::shared_ptr<const Room> room)
      : method(method),
        unary(unary),
        deadline_ns(deadline_ns),
        metadata(std::move(metadata)),
        reads(std::move(room)),
        call_(call) {}

  const int method;  // its number, by the order in which the server was told them
  const bool unary;  // one request, which comes with it
  const std::int64_t deadline_ns;  // of the system's clock; the greatest number where there is none
  const Metadata metadata;
  Reads reads;  // of a stream

  // The call, to be ended by who asks; null where somebody has taken it.
  Call* Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    taken_.store(true);
    return std::exchange(call_, nullptr);
  }
  bool taken() const { return taken_.load(); }
  // What `use` of the call returns: nobody ends it meanwhile.  False where somebody has taken it.
  template <typename Use>
  bool With(Use use) const {
    std::lock_guard<std::mutex> lock(mutex_);
    if (call_ == nullptr) return false;
    use(*call_);
    return true;
  }

 private:
  mutable std::mutex mutex_;
  Call* call_;
  std::atomic<bool> taken_{false};
};

// Refused before Python hears of it.
class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) {
    Finish(status);
    made_.Before();
  }
  void OnDone() override {
    made_.After();
    delete this;
  }

 private:
  Order made_;
};

}  // namespace memdb_edge
