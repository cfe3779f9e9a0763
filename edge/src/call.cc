#include "call.h"

#include <grpc/support/time.h>

#include <limits>
#include <new>
#include <string_view>

#include "calls.h"
#include "events.h"
#include "request_id.h"
#include "shelf.h"
#include "turns.h"

namespace memdb_edge {

namespace {

constexpr char kUserTag = 0x0a;  // of the first field of every request that the shelf answers
constexpr std::size_t kUserMax = 63;

// Whose call it is, by a look at the first field: every library that we know writes the fields in order.  Empty where
// that does not say; see `owner_of` in memdb/server/requests.py.
std::string_view OwnerOf(const Request& request) {
  const char* const data = request.data();
  if (request.size() < 2 || data[0] != kUserTag) return {};
  const std::size_t length = static_cast<unsigned char>(data[1]);
  if (length > kUserMax || length > request.size() - 2) return {};
  return {data + 2, length};
}

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

// Whether the shelf had the answer; then the call is ended.
bool Answered(Call::Shared& shared, const Shelved& shelved, const Request& request) {
  const auto answer = ((*shelved.shelf).*shelved.answer)(request.data(), request.size());
  if (!answer) return false;
  const grpc::Slice slice(*answer);
  const grpc::ByteBuffer message(&slice, 1);
  const Metadata trailers{{kRequestIdKey, RequestId(shared.metadata)}};
  // Unless the server goes away just now, and has ended it.
  if (Call* call = shared.Take()) call->End(grpc::Status::OK, trailers, &message);
  return true;
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
  place_.reset();  // Python counts it from now on
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

bool Request::Take(grpc::ByteBuffer* message) {
  if (!message->Dump(&slices_).ok()) return false;
  if (slices_.size() == 1) {
    data_ = reinterpret_cast<const char*>(slices_[0].begin());
  } else {
    for (const auto& slice : slices_) joined_.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    data_ = joined_.data();
  }
  message_.Swap(message);
  return true;
}

bool Call::AnswerFromShelf() try {
  if (incoming_.Length() > shelved_.bytes_max) return false;
  const auto request = std::make_shared<Request>();
  if (!request->Take(&incoming_)) return false;
  try {
    const std::string_view owner = OwnerOf(*request);
    if (!owner.empty()) place_ = Shares::Take(shelved_.shares, owner);
    if (!place_) {
      request->GiveBack(&incoming_);
      return false;
    }
    if (shelved_.turns && WaitForTurn(request)) return true;
    if (Answered(*shared_, shelved_, *request)) return true;
  } catch (const std::bad_alloc&) {
    // Nothing was ended yet, and gRPC would let the call hang.
  }
  request->GiveBack(&incoming_);
  return false;
} catch (const std::bad_alloc&) {
  return false;
}

bool Call::WaitForTurn(const std::shared_ptr<Request>& request) {
  const auto owner = shelved_.shelf->LongOf(request->data(), request->size());
  if (!owner) return false;
  Shelved shelved = shelved_;
  shelved.turns = nullptr;  // which holds what is done here
  return shelved_.turns->Do(*owner, [shared = shared_, shelved = std::move(shelved), request] {
    bool has_left = false;
    shared->With([&has_left](Call& call) { has_left = (call.state_.load() & kLeft) != 0; });
    if (has_left) {
      if (Call* call = shared->Take()) call->End({grpc::StatusCode::CANCELLED, ""}, {}, nullptr);
      return;
    }
    try {
      if (Answered(*shared, shelved, *request)) return;
    } catch (const std::bad_alloc&) {
      // As above.
    }
    shared->With([&request](Call& call) {
      request->GiveBack(&call.incoming_);
      call.Tell(true);
    });
  });
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
