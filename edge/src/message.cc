#include "message.h"

#include <cstring>
#include <new>

namespace memdb_edge {

Message::Message(std::string_view bytes) : Message(bytes.size()) {
  if (!bytes.empty()) std::memcpy(bytes_.get(), bytes.data(), bytes.size());
  Read();
}

void Message::Read() noexcept try {
  clips_ = ReadClips(bytes());
} catch (const std::bad_alloc&) {
  clips_.reset();
}

std::unique_ptr<Message> Message::Of(grpc::ByteBuffer* message, const std::shared_ptr<Room>& room) noexcept try {
  std::vector<grpc::Slice> slices;
  if (!message->Dump(&slices).ok()) return nullptr;
  std::size_t size = 0;
  for (const auto& slice : slices) size += slice.size();
  if (!room->Take(size)) return nullptr;
  std::unique_ptr<Message> made;
  try {
    made.reset(new Message(size));
  } catch (const std::bad_alloc&) {
    room->Give(size);
    return nullptr;
  }
  made->room_ = room;
  char* place = made->bytes_.get();
  for (const auto& slice : slices) {
    std::memcpy(place, slice.begin(), slice.size());
    place += slice.size();
  }
  slices.clear();
  message->Clear();  // before it is read: two of them are more than anybody counts
  made->Read();
  return made;
} catch (const std::bad_alloc&) {
  return nullptr;
}

}  // namespace memdb_edge
