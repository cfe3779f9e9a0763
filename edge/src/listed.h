// Large users whose questions are answered by lists of neighbouring rows (memdb/index/ivf.py), without Python.
//
// Which rows are looked at is told by arithmetic of its own, so an answer may have another row than Python's would,
// as either may have another than the exact one; the scores are the same as Python's, to the last bit.  All arrays are
// Python's own, of one view, and nobody changes them: to lay a user ready copies nothing that grows with it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "clips.h"
#include "shelf.h"

namespace memdb_edge {

// Rows of a matrix that lie together; memdb/index/matrix.py.
struct Chunk {
  std::size_t first = 0;
  std::size_t rows = 0;
  const std::uint16_t* head = nullptr;  // (rows, width)
  const std::int16_t* tail = nullptr;   // (rows, width)
};

// Codes of rows that came after the lists.
struct LaterCodes {
  std::size_t first = 0;
  std::size_t rows = 0;
  const std::uint8_t* codes = nullptr;
};

struct Listed {
  std::string user;
  bool global_memory = false;  // which parts the hits have
  bool keyframes = false;
  std::shared_ptr<void> keep;  // all arrays

  std::size_t dim = 0, width = 0, rows = 0;
  std::vector<Chunk> chunks;
  double norm_max = 0.0, residual_max = 0.0;
  const std::uint8_t* alive = nullptr;  // (rows,), null where all are
  double alive_share = 1.0;

  // Where lists are; memdb/index/nearby.py, memdb/index/basis.py.
  std::size_t code_bytes = 0;
  const std::uint8_t* directions = nullptr;  // (code_bytes - 2, width)
  const float* direction_steps = nullptr;    // (code_bytes - 2,)
  const float* steps = nullptr;              // (code_bytes - 2,)
  double bound_step = 0.0, half_step = 0.0;
  const std::uint8_t* centres = nullptr;  // (lists, code_bytes)

  // memdb/index/lists.py
  std::size_t lists = 0, listed_rows = 0;
  const std::int64_t* offsets = nullptr;  // (lists + 1,)
  const std::int64_t* numbers = nullptr;  // (listed_rows,)
  const std::uint8_t* codes = nullptr;    // (listed_rows, code_bytes)
  std::vector<LaterCodes> later;
  std::size_t coded = 0;                 // rows from there on have no code
  std::vector<std::uint32_t> unbounded;  // ascending; rows whose code tells nothing

  std::size_t lists_wanted = 0, candidates = 0;  // memdb/index/ivf.py, Breadth
  bool by_distance = false;

  const std::uint32_t* stream_no = nullptr;              // (rows,)
  std::vector<std::pair<std::uint32_t, Null>> streams;  // by number
  std::string only;  // the user's one stream; empty where there are more
  std::shared_ptr<Clips> clips;
  std::string tail;  // the fields of memdb.v1.GroundResponse behind its hits

  mutable std::atomic<bool> is_there{false};  // on the shelf
  mutable std::atomic<std::uint64_t> asked{0};
  // Of questions that were left to Python for want of clips; and questions with the scores of their hits, which are to be
  // compared with exact ones.
  mutable std::mutex noted_mutex;
  mutable std::vector<std::uint32_t> missing;
  mutable std::vector<std::pair<std::vector<float>, std::vector<float>>> samples;

  void NoteSample(const char* feature, const std::vector<float>& scores) const;
  std::vector<std::pair<std::vector<float>, std::vector<float>>> TakeSamples() const;
  void NoteMissing(const std::vector<std::uint32_t>& rows) const;
  std::vector<std::uint32_t> TakeMissing() const;
};

// Hits, best first, equal scores by row.
struct ListedHits {
  std::vector<std::uint32_t> rows;
  std::vector<float> scores;
  std::vector<double> relevances;
};

// feature: dim float32 elements at any place. False where the question is to be answered by Python.
bool SearchListed(const Kernels& kernels, const Listed& listed, const char* feature, std::size_t limit, ListedHits* hits);

}  // namespace memdb_edge
