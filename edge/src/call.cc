#include "call.h"

#include <chrono>
#include <limits>

#include "events.h"
#include "request_id.h"
#include "shelf.h"

namespace memdb_edge {

namespace {

std::int64_t NanosecondsOf(std::chrono::system_clock::time_point time) {
  if (time == std::chrono::system_clock::time_point::max()) return std::numeric_limits<std::int64_t>::max();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
}

}  // namespace

Call::Call(std::shared_ptr<Events> events, grpc::GenericCallbackServerContext* context, int method, bool unary,
           std::shared_ptr<std::atomic<std::int64_t>> open, Shelved shelved)
    : events_(std::move(events)),
      shelved_(std::move(shelved)),
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
  if (ok && shelved_.shelf && AnswerFromShelf()) return;
  if (unary_) {
    // Without its message Python hears of it as well: what to say of it is said there.
    events_->Put({Event::kCall, shared_, std::move(incoming_), ok});
  } else {
    events_->Put({Event::kRead, shared_, std::move(incoming_), ok});
  }
  incoming_ = grpc::ByteBuffer();
}

void Call::OnWriteDone(bool ok) { events_->Put({Event::kWritten, shared_, {}, ok}); }

void Call::OnCancel() {
  if (told_) events_->Put({Event::kCancelled, shared_, {}, false});
}

bool Call::AnswerFromShelf() {
  std::vector<grpc::Slice> slices;
  if (incoming_.Length() > shelved_.bytes_max || !incoming_.Dump(&slices).ok()) return false;
  std::string joined;
  if (slices.size() != 1) {
    for (const auto& slice : slices) joined.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  const char* data = slices.size() == 1 ? reinterpret_cast<const char*>(slices[0].begin()) : joined.data();
  const auto answer = ((*shelved_.shelf).*shelved_.answer)(data, incoming_.Length());
  if (!answer) return false;
  told_ = false;
  const grpc::Slice slice(*answer);
  grpc::ByteBuffer message(&slice, 1);
  End(grpc::Status::OK, {{kRequestIdKey, RequestId(shared_->metadata)}}, &message);
  return true;
}

void Call::OnDone() {
  open_->fetch_sub(1);
  if (told_) events_->Put({Event::kDone, shared_, {}, true});
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
