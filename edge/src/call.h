// One call: a reactor of gRPC on one side, a handle of Python's on the other.
//
// gRPC calls the On... methods on threads of its own; none of them touches Python.  The other methods are called on
// the one thread that polls the events, with the interpreter's lock held.  A reactor lives until OnDone, which gRPC
// calls once `Finish` was called and everything that was under way has ended.  Only Python finishes a call (but for
// those that are refused at the door), and exactly once, so a call that Python may use is there.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace memdb_edge {

class Events;
class Shelf;

using Metadata = std::vector<std::pair<std::string, std::string>>;

// What answers a call before Python hears of it.
struct Shelved {
  std::shared_ptr<const Shelf> shelf;  // null: nothing
  std::optional<std::string> (Shelf::*answer)(const char*, std::size_t) const = nullptr;
  std::size_t bytes_max = 0;  // longer requests are not looked at
};

class Call final : public grpc::ServerGenericBidiReactor {
 public:
  // What the other side is told by; gone only when both the reactor and Python have let go of it.
  struct Shared;

  Call(std::shared_ptr<Events> events, grpc::GenericCallbackServerContext* context, int method, bool unary,
       std::shared_ptr<std::atomic<std::int64_t>> open, Shelved shelved);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // Ask for the next message.
  void Read() { StartRead(&incoming_); }
  // Send a message of a stream.
  void Write(grpc::ByteBuffer message);
  // Send the one answer, if any, and the end.
  void End(grpc::Status status, const Metadata& trailers, grpc::ByteBuffer* answer);

 private:
  // Answers what lies ready; whether it did.
  bool AnswerFromShelf();

  std::shared_ptr<Events> events_;
  Shelved shelved_;
  grpc::GenericCallbackServerContext* context_;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<std::atomic<std::int64_t>> open_;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
  const bool unary_;
  bool told_ = true;  // whether Python has heard of it, or will
};

struct Call::Shared {
  Call* call = nullptr;     // null once it is finished; changed and read by Python's thread alone after the start
  int method = 0;           // its number, by the order in which the server was told them
  bool unary = false;
  std::int64_t deadline_ns = 0;  // of the system's clock; the greatest number where there is none
  Metadata metadata;
};

// Refused before Python hears of it.
class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace memdb_edge
