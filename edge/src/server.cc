#include "server.h"

#include <chrono>

namespace memdb_edge {

namespace {

// Longer requests are not looked at: a feature of 4,000 dimensions, and 256 of 2,000.
constexpr std::size_t kQuestionBytesMax = 20 << 10;
constexpr std::size_t kQuestionsBytesMax = 2 << 20;

}  // namespace

Server::Server(std::vector<Option> options, const std::vector<std::pair<std::string, bool>>& methods,
               std::int64_t calls_max, std::shared_ptr<const Shelf> shelf,
               std::pair<std::string, std::string> shelved)
    : options_(std::move(options)),
      calls_max_(calls_max),
      events_(std::make_shared<Events>()),
      open_(std::make_shared<std::atomic<std::int64_t>>(0)),
      shelf_(std::move(shelf)),
      shelved_(std::move(shelved)) {
  int number = 0;
  for (const auto& [name, unary] : methods) methods_.emplace(name, std::make_pair(number++, unary));
}

Server::~Server() {
  if (server_) Shutdown(0.0);
}

int Server::Start(const std::string& address, const Certificate* certificate) {
  grpc::ServerBuilder builder;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (certificate != nullptr) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({certificate->key, certificate->chain});
    credentials = grpc::SslServerCredentials(options);
  }
  int port = 0;
  builder.AddListeningPort(address, credentials, &port);
  for (const auto& [name, value] : options_) {
    std::visit([&builder, &name = name](const auto& chosen) { builder.AddChannelArgument(name, chosen); }, value);
  }
  builder.RegisterCallbackGenericService(this);
  server_ = builder.BuildAndStart();
  return server_ ? port : 0;
}

void Server::Shutdown(double grace_s) {
  if (!server_) return;
  const auto grace = std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::duration<double>(grace_s));
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
}

grpc::ServerGenericBidiReactor* Server::CreateReactor(grpc::GenericCallbackServerContext* context) {
  const auto found = methods_.find(context->method());
  if (found == methods_.end()) {
    return new Refusal(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "Method not found!"));
  }
  if (open_->fetch_add(1) >= calls_max_) {
    open_->fetch_sub(1);
    return new Refusal(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!"));
  }
  Shelved shelved;
  if (shelf_ && context->method() == shelved_.first) shelved = {shelf_, &Shelf::Answer, kQuestionBytesMax};
  if (shelf_ && context->method() == shelved_.second) shelved = {shelf_, &Shelf::AnswerMany, kQuestionsBytesMax};
  return new Call(events_, context, found->second.first, found->second.second, open_, std::move(shelved));
}

}  // namespace memdb_edge
