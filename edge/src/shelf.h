// Questions that are answered without Python: plain ones to users of few clips, whose rows and hits lie ready.
//
// What lies here is of one view of a user's memory and is taken away before there is another (`Withdraw`), so an
// answer is what Python would have answered at that moment, to the last bit: the inner products are FAISS's and the
// exponentials numpy's own (their functions are handed in), the rest is the same arithmetic in the same order, with
// nothing contracted.  Whatever a question has that is not looked at here is left to Python (`Answer` gives nothing).
//
// Any threads, and none of them needs the interpreter's lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "arithmetic.h"
#include "sketch.h"

namespace memdb_edge {

struct Listed;
struct Question;

// What a camera gives to anything; memdb/engine/relevance.py.
struct Null {
  std::string name;
  std::vector<double> mean;  // (dim,); empty where the stream has no row
  double spread = 0.0;
  double things = 0.0;
};

struct Prepared {
  std::string user;
  bool global_memory = false;  // which parts the hits have
  bool keyframes = false;
  std::size_t dim = 0;
  std::size_t width = 0;
  std::size_t rows = 0;
  const float* whole = nullptr;  // (rows, width), kept by `keep`
  Sketch sketch;                 // of these, if there is one; kept by `keep_codes` and `keep_measures`
  std::shared_ptr<void> keep, keep_codes, keep_measures;
  std::vector<std::int64_t> start_ns, end_ns;  // (rows,)
  std::vector<std::uint8_t> alive;             // (rows,)
  std::vector<std::uint32_t> stream;           // (rows,) place among the streams
  std::vector<Null> streams;
  std::vector<std::string> clips;  // (rows,) memdb.v1.StoredClip
  std::string tail;               // the fields of memdb.v1.GroundResponse behind its hits
  mutable std::atomic<bool> asked{false};

  std::size_t Bytes() const;
};

class Shelf {
 public:
  Shelf(Kernels kernels, std::size_t bytes_max) : kernels_(kernels), bytes_max_(bytes_max) {}

  // Takes it in; the oldest make room.  False where it is larger than all the room.
  bool Put(std::shared_ptr<const Prepared> prepared);
  bool Put(std::shared_ptr<const Listed> listed);
  // Nothing of the user is here any more once it returns; an answer that has begun goes out.
  void Withdraw(const std::string& user);
  // The serialised answer to a serialised memdb.v1.GroundRequest; nothing where it is Python's.
  std::optional<std::string> Answer(const char* request, std::size_t length) const;
  // The same of a memdb.v1.GroundManyRequest.
  std::optional<std::string> AnswerMany(const char* request, std::size_t length) const;
  // Whose they are, of questions to a user that is here which take long together; nothing of others.
  std::optional<std::string> LongOf(const char* request, std::size_t length) const;
  // Leave everything to Python from now on.
  void Close() { closed_.store(true); }
  // Users that were answered since the last time.
  std::vector<std::string> TakeAsked();

  std::uint64_t answered() const { return answered_.load(std::memory_order_relaxed); }
  std::size_t bytes() const;
  std::size_t users() const;

 private:
  // A user of few clips, or a large one.
  struct Entry {
    std::shared_ptr<const Prepared> prepared;
    std::shared_ptr<const Listed> listed;
    std::size_t bytes = 0;
    std::list<std::string>::iterator place;
  };

  bool Put(const std::string& key, Entry entry);
  std::optional<std::string> AnswerByLists(const Listed& listed, const Question& question) const;
  Entry Find(const Question& question) const;
  void Drop(std::unordered_map<std::string, Entry>::iterator entry);

  const Kernels kernels_;
  const std::size_t bytes_max_;
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;  // by user and parts
  std::list<std::string> order_;                    // their keys, the oldest first
  std::size_t bytes_ = 0;
  std::atomic<bool> closed_{false};
  mutable std::atomic<std::uint64_t> answered_{0};
  mutable std::atomic<std::uint64_t> by_lists_{0};  // answers to large users
};

}  // namespace memdb_edge
