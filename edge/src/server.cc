#include "server.h"

#include <grpcpp/resource_quota.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <stdexcept>
#include <thread>

#include "call.h"

namespace memdb_edge {

namespace {

// Longer requests are not looked at: a feature of 4,000 dimensions, and 256 of 2,000.
constexpr std::size_t kQuestionBytesMax = 20 << 10;
constexpr std::size_t kQuestionsBytesMax = 2 << 20;
// Calls that the shelf answers and gRPC has not done with, beside those that Python counts: what waits for its turn,
// and answers that nobody reads.
constexpr std::size_t kReadyMax = 512;
constexpr std::size_t kRoomShare = 8;  // one of so many
// gRPC of this version ends a connection, with all of its calls, whose peer sends more metadata than it was told to
// take.  So it is told to take so many times as much, and what is more than was meant is refused here, call by call.
constexpr int kMetadataSlack = 8;
constexpr const char* kMetadataOption = "grpc.max_metadata_size";
constexpr std::size_t kEntryBytes = 32;  // of an entry beside its key and value, as HTTP/2 counts them
constexpr unsigned kTurnsMax = 16;  // threads
constexpr double kGraceMax = 1e9;  // what a clock can count

std::size_t SizeOf(const grpc::GenericCallbackServerContext& context) {
  std::size_t size = context.method().size();
  for (const auto& [key, value] : context.client_metadata()) size += key.size() + value.size() + kEntryBytes;
  return size;
}

}  // namespace

Server::Server(std::vector<Option> options, const std::vector<std::pair<std::string, bool>>& methods,
               std::int64_t calls_max, std::size_t memory_max, std::shared_ptr<const Shelf> shelf,
               std::pair<std::string, std::string> shelved)
    : options_(std::move(options)),
      memory_max_(memory_max - memory_max / kRoomShare),
      room_(std::make_shared<Room>(memory_max / kRoomShare)),
      events_(std::make_shared<Events>()),
      calls_(std::make_shared<Calls>(calls_max + static_cast<std::int64_t>(shelf ? kReadyMax : 0))),
      shelf_(std::move(shelf)),
      shelved_(std::move(shelved)),
      turns_(std::make_shared<Turns>(std::clamp(std::thread::hardware_concurrency(), 1u, kTurnsMax))),
      shares_(std::make_shared<Shares>(kReadyMax)) {
  int number = 0;
  for (auto& [name, value] : options_) {
    int* const most = name == kMetadataOption ? std::get_if<int>(&value) : nullptr;
    if (most == nullptr) continue;
    metadata_max_ = static_cast<std::size_t>(std::max(*most, 0));
    *most = std::min(*most, std::numeric_limits<int>::max() / kMetadataSlack) * kMetadataSlack;
  }
  for (const auto& [name, unary] : methods) methods_.emplace(name, std::make_pair(number++, unary));
}

Server::~Server() {
  calls_->End();  // nobody else will, and gRPC waits for them
  Shutdown(0.0);
  turns_->End();
}

bool Server::Start(const Certificate* certificate) {
  if (acceptor_) throw std::logic_error("a server starts once");
  grpc::ServerBuilder builder;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (certificate != nullptr) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({certificate->key, certificate->chain});
    credentials = grpc::SslServerCredentials(options);
  }
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  acceptor_ = builder.experimental().AddExternalConnectionAcceptor(Type::FROM_FD, credentials);
  for (const auto& [name, value] : options_) {
    std::visit([&builder, &name = name](const auto& chosen) { builder.AddChannelArgument(name, chosen); }, value);
  }
  builder.SetResourceQuota(grpc::ResourceQuota("memdb").Resize(memory_max_));
  builder.RegisterCallbackGenericService(this);
  server_ = builder.BuildAndStart();
  return server_ != nullptr;
}

void Server::Adopt(int connection) {
  if (!server_) {
    close(connection);
    throw std::logic_error("a server that was not started");
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.fd = connection;
  acceptor_->HandleNewConnection(&parameters);
}

void Server::Shutdown(double grace_s) {
  if (!server_) return;
  const auto grace = std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::duration<double>(std::clamp(grace_s, 0.0, kGraceMax)));
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
}

grpc::ServerGenericBidiReactor* Server::CreateReactor(grpc::GenericCallbackServerContext* context) {
  if (SizeOf(*context) > metadata_max_) {
    return new Refusal(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "received metadata size exceeds limit"));
  }
  const auto found = methods_.find(context->method());
  if (found == methods_.end()) {
    return new Refusal(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "Method not found!"));
  }
  const auto [method, unary] = found->second;
  Shelved shelved;
  if (shelf_ && context->method() == shelved_.first) {
    shelved = {shelf_, &Shelf::Answer, kQuestionBytesMax, nullptr, shares_};
  } else if (shelf_ && context->method() == shelved_.second) {
    shelved = {shelf_, &Shelf::AnswerMany, kQuestionsBytesMax, turns_, shares_};
  }
  auto call = std::make_unique<Call>(events_, calls_, context, method, unary, std::move(shelved), room_);
  const grpc::Status status = calls_->Add(call.get());
  if (!status.ok()) return new Refusal(status);
  call->Begin();
  return call.release();
}

}  // namespace memdb_edge
