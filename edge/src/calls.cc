#include "calls.h"

#include <vector>

#include "call.h"

namespace memdb_edge {

namespace {

grpc::Status Gone() { return {grpc::StatusCode::UNAVAILABLE, "the server is gone"}; }

}  // namespace

grpc::Status Calls::Add(Call* call) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (ended_) return Gone();
  if (static_cast<std::int64_t>(open_.size()) >= most_) {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"};
  }
  open_.insert(call);
  return grpc::Status::OK;
}

void Calls::Remove(Call* call) {
  std::lock_guard<std::mutex> lock(mutex_);
  open_.erase(call);
}

void Calls::End() {
  std::vector<Call*> taken;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    for (Call* call : open_) {
      // One that was not taken is there until it is ended.
      if (call->shared()->Take() != nullptr) taken.push_back(call);
    }
  }
  for (Call* call : taken) call->End(Gone(), {}, nullptr);
}

}  // namespace memdb_edge
