#include "call.h"

#include <grpc/support/time.h>

#include <limits>
#include <new>

#include "calls.h"
#include "events.h"
#include "request_id.h"
#include "shelf.h"

namespace memdb_edge {

namespace {

// Nanoseconds since 1970; of one that lies centuries ahead as of none.
std::int64_t NanosecondsOf(gpr_timespec time) {
  constexpr std::int64_t ns_max = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t ns_per_s = 1'000'000'000;
  time = gpr_convert_clock_type(time, GPR_CLOCK_REALTIME);
  if (time.tv_sec >= ns_max / ns_per_s) return ns_max;
  return time.tv_sec <= 0 ? 0 : time.tv_sec * ns_per_s + time.tv_nsec;
}

Metadata MetadataOf(const grpc::GenericCallbackServerContext& context) {
  Metadata metadata;
  for (const auto& [key, value] : context.client_metadata()) {
    metadata.emplace_back(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
  }
  return metadata;
}

}  // namespace

Call::Call(std::shared_ptr<Events> events, std::shared_ptr<Calls> calls, grpc::GenericCallbackServerContext* context,
           int method, bool unary, Shelved shelved, std::shared_ptr<Room> room)
    : events_(std::move(events)),
      calls_(std::move(calls)),
      shelved_(std::move(shelved)),
      room_(std::move(room)),
      context_(context),
      shared_(std::make_shared<Shared>(this, method, unary, NanosecondsOf(context->raw_deadline()),
                                       MetadataOf(*context), room_)),
      unary_(unary) {}

Call::~Call() { calls_->Remove(this); }

void Call::Begin() {
  if (unary_) {
    StartReading();
  } else {
    Tell(true);
  }
}

void Call::Tell(bool ok) {
  started_.Before();
  Incoming came;
  came.message.Swap(&incoming_);
  came.ok = ok;
  events_->Put({Event::kCall, shared_, std::move(came)});
  if (state_.fetch_or(kTold) & kLeft) events_->Put({Event::kCancelled, shared_, {}});
}

void Call::OnReadDone(bool ok) {
  started_.After();
  if (unary_) {
    if (ok && shelved_.shelf && AnswerFromShelf()) {
      told_.Before();
      return;
    }
    // Without its message Python hears of it as well: what to say of it is said there.
    Tell(ok);
    told_.Before();
    return;
  }
  Incoming came;
  came.message.Swap(&incoming_);
  came.ok = ok;
  if (ok && shared_->reads.clips()) came.read = Message::Of(&came.message, room_);
  bool start = false;
  auto asked = shared_->reads.Came(std::move(came), &start);
  if (asked) events_->Put({Event::kRead, shared_, std::move(*asked)});
  if (start) ReadOn();
  told_.Before();
}

void Call::ReadOn() {
  if (shared_->With([](Call& call) { call.StartReading(); })) return;
  // It was ended meanwhile; who asked since waits for an answer.
  if (shared_->reads.Stop()) events_->Put({Event::kRead, shared_, {}});
}

void Call::OnWriteDone(bool ok) {
  started_.After();
  outgoing_.Clear();  // a stream may be silent for hours
  writing_.store(false);
  Incoming none;
  none.ok = ok;
  events_->Put({Event::kWritten, shared_, std::move(none)});
  told_.Before();
}

void Call::OnCancel() {
  started_.After();
  if (state_.fetch_or(kLeft) & kTold) events_->Put({Event::kCancelled, shared_, {}});
  told_.Before();
}

void Call::OnDone() {
  started_.After();
  told_.After();
  if (state_.load() & kTold) events_->Put({Event::kDone, shared_, {}});
  delete this;
}

bool Call::AnswerFromShelf() try {
  std::vector<grpc::Slice> slices;
  if (incoming_.Length() > shelved_.bytes_max || !incoming_.Dump(&slices).ok()) return false;
  std::string joined;
  if (slices.size() != 1) {
    for (const auto& slice : slices) joined.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  const char* data = slices.size() == 1 ? reinterpret_cast<const char*>(slices[0].begin()) : joined.data();
  const auto answer = ((*shelved_.shelf).*shelved_.answer)(data, incoming_.Length());
  if (!answer) return false;
  const grpc::Slice slice(*answer);
  const grpc::ByteBuffer message(&slice, 1);
  const Metadata trailers{{kRequestIdKey, RequestId(shared_->metadata)}};
  // Unless the server goes away just now, and has ended it.
  if (shared_->Take() != nullptr) End(grpc::Status::OK, trailers, &message);
  return true;
} catch (const std::bad_alloc&) {
  return false;  // nothing was ended yet, and gRPC would let the call hang
}

void Call::StartReading() {
  started_.Before();
  StartRead(&incoming_);
}

bool Call::Write(const grpc::ByteBuffer& message) {
  if (writing_.exchange(true)) return false;
  outgoing_ = message;
  started_.Before();
  StartWrite(&outgoing_);
  return true;
}

void Call::End(grpc::Status status, const Metadata& trailers, const grpc::ByteBuffer* answer) noexcept {
  for (const auto& [key, value] : trailers) context_->AddTrailingMetadata(key, value);
  if (answer != nullptr) outgoing_ = *answer;
  started_.Before();
  if (answer == nullptr) {
    Finish(std::move(status));
  } else {
    StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), std::move(status));
  }
}

}  // namespace memdb_edge
