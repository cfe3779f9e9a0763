// A gRPC server that takes every call of the methods it was told, as bytes.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "events.h"
#include "shelf.h"

namespace memdb_edge {

using Option = std::pair<std::string, std::variant<int, std::string>>;

struct Certificate {
  std::string key;    // PEM
  std::string chain;  // PEM
};

class Server final : private grpc::CallbackGenericService {
 public:
  // methods: "/package.Service/Method", and whether a call has one request and one answer.
  // calls_max: how many may be open at once; more are refused with RESOURCE_EXHAUSTED.
  // shelf: what answers calls of the methods `shelved` (of one question, of many) before Python hears of them, or
  // null.
  Server(std::vector<Option> options, const std::vector<std::pair<std::string, bool>>& methods, std::int64_t calls_max,
         std::shared_ptr<const Shelf> shelf, std::pair<std::string, std::string> shelved);
  ~Server() override;

  int fd() const { return events_->fd(); }
  // Binds and serves; the port that was taken, or 0 where gRPC could not bind.
  int Start(const std::string& address, const Certificate* certificate);
  std::vector<Event> Take() { return events_->Take(); }
  // Takes no new calls, lets those that run end within the time, then cancels them; returns once all have ended.
  void Shutdown(double grace_s);

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

  std::vector<Option> options_;
  std::unordered_map<std::string, std::pair<int, bool>> methods_;
  std::int64_t calls_max_;
  std::shared_ptr<Events> events_;
  std::shared_ptr<std::atomic<std::int64_t>> open_;
  std::shared_ptr<const Shelf> shelf_;
  std::pair<std::string, std::string> shelved_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace memdb_edge
