// The calls that are open: how many there may be, and which they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_set>

#include <grpcpp/grpcpp.h>

namespace memdb_edge {

class Call;

// Any threads.
class Calls {
 public:
  explicit Calls(std::int64_t most) : most_(most) {}
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  // OK where it is one of them from now on, else why it is not.
  grpc::Status Add(Call* call);
  // Which may be none of them.
  void Remove(Call* call);
  // Take no more, and end those that nobody has taken.
  void End();

 private:
  const std::int64_t most_;
  std::mutex mutex_;
  std::unordered_set<Call*> open_;
  bool ended_ = false;
};

}  // namespace memdb_edge
