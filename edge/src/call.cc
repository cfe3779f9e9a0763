#include "call.h"

#include <chrono>
#include <limits>

#include "events.h"

namespace memdb_edge {

namespace {

std::int64_t NanosecondsOf(std::chrono::system_clock::time_point time) {
  if (time == std::chrono::system_clock::time_point::max()) return std::numeric_limits<std::int64_t>::max();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

Call::Call(std::shared_ptr<Events> events, grpc::GenericCallbackServerContext* context, int method, bool unary,
           std::shared_ptr<std::atomic<std::int64_t>> open)
    : events_(std::move(events)),
      context_(context),
      shared_(std::make_shared<Shared>()),
      open_(std::move(open)),
      unary_(unary) {
  shared_->call = this;
  shared_->method = method;
  shared_->unary = unary;
  shared_->deadline_ns = NanosecondsOf(context->deadline());
  for (const auto& [key, value] : context->client_metadata()) {
    shared_->metadata.emplace_back(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
  }
  if (unary_) {
    StartRead(&incoming_);
  } else {
    events_->Put({Event::kCall, shared_, {}, true});
  }
}

void Call::OnReadDone(bool ok) {
  if (unary_) {
    // Without its message Python hears of it as well: what to say of it is said there.
    events_->Put({Event::kCall, shared_, std::move(incoming_), ok});
  } else {
    events_->Put({Event::kRead, shared_, std::move(incoming_), ok});
  }
  incoming_ = grpc::ByteBuffer();
}

void Call::OnWriteDone(bool ok) { events_->Put({Event::kWritten, shared_, {}, ok}); }

void Call::OnCancel() { events_->Put({Event::kCancelled, shared_, {}, false}); }

void Call::OnDone() {
  open_->fetch_sub(1);
  events_->Put({Event::kDone, shared_, {}, true});
  delete this;
}

void Call::Write(grpc::ByteBuffer message) {
  outgoing_ = std::move(message);
  StartWrite(&outgoing_);
}

void Call::End(grpc::Status status, const Metadata& trailers, grpc::ByteBuffer* answer) {
  for (const auto& [key, value] : trailers) context_->AddTrailingMetadata(key, value);
  if (answer == nullptr) {
    Finish(std::move(status));
  } else {
    outgoing_ = std::move(*answer);
    StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), std::move(status));
  }
}

}  // namespace memdb_edge
