// A message of a stream in one piece, which is not gRPC's any more, and the clips in it.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "plain_clips.h"
#include "room.h"

namespace memdb_edge {

class Message {
 public:
  // Copies the bytes and reads them.  Throws std::bad_alloc.
  explicit Message(std::string_view bytes);
  // The same of a message that gRPC has, which is let go of; null, and it is kept, where it cannot be read, or there is
  // no room or memory for it.
  static std::unique_ptr<Message> Of(grpc::ByteBuffer* message, const std::shared_ptr<Room>& room) noexcept;
  ~Message() { Leave(); }
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  // Takes no room any more: somebody else counts it.
  void Leave() {
    if (room_) room_->Give(size_);
    room_.reset();
  }
  std::string_view bytes() const { return {bytes_.get(), size_}; }
  // Views of the bytes; nothing where they are not plain.
  const std::optional<std::vector<PlainClip>>& clips() const { return clips_; }

 private:
  explicit Message(std::size_t size) : bytes_(new char[size]), size_(size) {}
  void Read() noexcept;

  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
  std::shared_ptr<Room> room_;
  std::optional<std::vector<PlainClip>> clips_;
};

}  // namespace memdb_edge
