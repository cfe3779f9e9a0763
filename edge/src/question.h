// A plain question, read off its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace memdb_edge {

struct Question {
  std::string_view user;
  std::string_view feature;  // float32 elements
  std::uint64_t limit = 4;
  std::vector<std::string_view> streams;  // empty: all
  std::optional<std::int64_t> start_ns, end_ns;
  bool exact = false;
  bool global_memory = true;
  bool keyframes = true;
};

// Plain questions that differ in their features alone.
struct Questions {
  Question common;  // without a feature
  std::string_view features;  // (count, dim) float32 elements
  std::size_t count = 0;
  std::size_t dim = 0;
};

// The question of a serialised memdb.v1.GroundRequest; nothing where it has a field that is not here, has one twice, or
// is no message.  Views of the bytes.
std::optional<Question> ReadQuestion(const char* data, std::size_t length);
// The same of a serialised memdb.v1.GroundManyRequest.
std::optional<Questions> ReadQuestions(const char* data, std::size_t length);

}  // namespace memdb_edge
