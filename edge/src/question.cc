#include "question.h"

#include "fields.h"

namespace memdb_edge {

namespace {

// Numbers of the fields are those of proto/memdb/v1/grounding_service.proto.
constexpr std::size_t kStreamsMax = 4;
constexpr std::uint64_t kLimitMax = 64;
constexpr std::uint64_t kQuestionsMax = 256;
constexpr std::uint64_t kDimMax = 1 << 16;
constexpr std::int64_t kTimeMax = std::int64_t{1} << 62;

bool ReadFeature(std::string_view vector, std::string_view* elements) {
  Reader reader(vector.data(), vector.size());
  std::uint64_t tag;
  return reader.Short(&tag) && tag == (1 << 3 | kBytes) && reader.Bytes(elements) && reader.done();
}

bool ReadTime(std::uint64_t value, std::optional<std::int64_t>* time) {
  const std::int64_t ns = Signed(value);
  if (ns < 0 || ns > kTimeMax) return false;
  *time = ns;
  return true;
}

bool Take(std::uint64_t field, std::uint64_t number, std::string_view bytes, Question* question) {
  switch (field) {
    case 1:
      question->user = bytes;
      return true;
    case 2:
      return ReadFeature(bytes, &question->feature);
    case 3:
      if (number > kLimitMax) return false;
      if (number != 0) question->limit = number;
      return true;
    case 4:
      for (const auto& name : question->streams) {
        if (name == bytes) return false;
      }
      question->streams.push_back(bytes);
      return question->streams.size() <= kStreamsMax;
    case 5:
      return ReadTime(number, &question->start_ns);
    case 6:
      return ReadTime(number, &question->end_ns);
    case 9:
      return bytes.empty() || bytes == "top";
    case 13:
      return bytes.empty() || bytes == "none";
    case 21:
      return bytes.empty() || bytes == "idf";
    case 23:
      question->exact = number != 0;  // among few rows every answer is
      return number <= 1;
    case 25:
      question->global_memory = number == 0;
      return number <= 1;
    case 26:
      question->keyframes = number == 0;
      return number <= 1;
    default:
      return false;
  }
}

// Everything but whose it is and what is asked.
bool ReadFields(std::string_view data, Question* question) {
  std::uint64_t seen = 0;
  Reader reader(data.data(), data.size());
  while (!reader.done()) {
    std::uint64_t tag;
    if (!reader.Short(&tag)) return false;
    const std::uint64_t field = tag >> 3;
    if (field == 0 || field > 31) return false;
    const bool is_list = field == 4;
    if (!is_list && (seen >> field & 1) != 0) return false;
    seen |= std::uint64_t{1} << field;
    std::uint64_t number = 0;
    std::string_view bytes;
    const bool is_number = field == 3 || field == 5 || field == 6 || field == 23 || field == 25 || field == 26;
    const int type = static_cast<int>(tag & 7);
    if (type != (is_number ? kVarint : kBytes)) return false;
    if (!(is_number ? reader.Varint(&number) : reader.Bytes(&bytes))) return false;
    if (!Take(field, number, bytes, question)) return false;
  }
  return !(question->start_ns.has_value() && question->end_ns.has_value() && *question->end_ns <= *question->start_ns);
}

bool ReadMatrix(std::string_view data, Questions* questions) {
  Reader reader(data.data(), data.size());
  std::uint64_t tag, rows, dim;
  // In this order, as every library that we know writes them.
  if (!reader.Short(&tag) || tag != (1 << 3 | kVarint) || !reader.Varint(&rows)) return false;
  if (!reader.Short(&tag) || tag != (2 << 3 | kVarint) || !reader.Varint(&dim)) return false;
  if (!reader.Short(&tag) || tag != (3 << 3 | kBytes) || !reader.Bytes(&questions->features)) return false;
  if (!reader.done() || rows == 0 || rows > kQuestionsMax || dim == 0 || dim > kDimMax) return false;
  questions->count = rows;
  questions->dim = dim;
  return questions->features.size() == rows * dim * sizeof(float);
}

}  // namespace

std::optional<Question> ReadQuestion(const char* data, std::size_t length) {
  Question question;
  if (!ReadFields({data, length}, &question)) return std::nullopt;
  if (question.user.empty() || question.feature.empty()) return std::nullopt;
  return question;
}

std::optional<Questions> ReadQuestions(const char* data, std::size_t length) {
  Questions questions;
  std::string_view user, matrix, options;
  Reader reader(data, length);
  while (!reader.done()) {
    std::uint64_t tag;
    if (!reader.Short(&tag)) return std::nullopt;
    std::string_view* part = tag == (1 << 3 | kBytes)   ? &user
                             : tag == (2 << 3 | kBytes) ? &matrix
                             : tag == (3 << 3 | kBytes) ? &options
                                                        : nullptr;
    if (part == nullptr || part->data() != nullptr || !reader.Bytes(part)) return std::nullopt;
  }
  if (user.empty() || !ReadMatrix(matrix, &questions) || !ReadFields(options, &questions.common)) return std::nullopt;
  // What is one question's is no option of all: Python says so.
  if (questions.common.user.data() != nullptr || questions.common.feature.data() != nullptr) return std::nullopt;
  questions.common.user = user;
  return questions;
}

}  // namespace memdb_edge
