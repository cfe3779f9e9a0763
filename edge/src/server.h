// A gRPC server that takes every call of the methods it was told, as bytes, from connections that it is given.
//
// It does not listen: where no descriptor is left, gRPC of this version closes what it listens at, for good.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <limits>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "calls.h"
#include "events.h"
#include "room.h"
#include "shares.h"
#include "shelf.h"
#include "turns.h"

namespace memdb_edge {

using Option = std::pair<std::string, std::variant<int, std::string>>;

struct Certificate {
  std::string key;    // PEM
  std::string chain;  // PEM
};

class Server final : private grpc::CallbackGenericService {
 public:
  // methods: "/package.Service/Method", and whether a call has one request.
  // calls_max: how many may be open at once, beside some that the shelf answers; more are refused with
  // RESOURCE_EXHAUSTED.
  // memory_max: bytes that are held of what comes in; beyond it no more is read.  gRPC takes a message in whole before
  // it looks whether that is too large.  A share of them is for messages that were read ahead of Python.
  // shelf: what answers calls of the methods `shelved` (of one question, of many) before Python hears of them, or
  // null.
  Server(std::vector<Option> options, const std::vector<std::pair<std::string, bool>>& methods, std::int64_t calls_max,
         std::size_t memory_max, std::shared_ptr<const Shelf> shelf,
         std::pair<std::string, std::string> shelved);
  // Ends the calls that nobody has ended.
  ~Server() override;

  int fd() const { return events_->fd(); }
  // Serves from now on; false where gRPC does not take the certificate.  Once.
  bool Start(const Certificate* certificate);
  // Serves a connection, which it closes.
  void Adopt(int connection);
  std::list<Event> Take() { return events_->Take(); }
  void PutBack(std::list<Event> untold) { events_->PutBack(std::move(untold)); }
  // Takes no new calls, lets those that run end within the time, then cancels them; returns once all have ended.
  void Shutdown(double grace_s);

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

  std::vector<Option> options_;
  std::size_t memory_max_;
  std::size_t metadata_max_ = std::numeric_limits<std::size_t>::max();  // bytes, of a call
  std::shared_ptr<Room> room_;
  std::unordered_map<std::string, std::pair<int, bool>> methods_;
  std::shared_ptr<Events> events_;
  std::shared_ptr<Calls> calls_;
  std::shared_ptr<const Shelf> shelf_;
  std::pair<std::string, std::string> shelved_;
  std::shared_ptr<Turns> turns_;
  std::shared_ptr<Shares> shares_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace memdb_edge
