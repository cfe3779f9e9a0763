// The entries of clips that are to be committed, as Python has them (memdb/store/staging.py).
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>

#include "stored.h"

namespace memdb_edge {

// What is to be put into four tables, by key.
struct StagingTables {
  pybind11::dict clips, vectors, short_memory, ledger;
};

// Adds clips, whose vectors are alike, one after the other.  All throw Python's error where it has no memory.
class Staging {
 public:
  Staging(const StagingTables& tables, std::size_t count, std::size_t vector_bytes);

  // payload: of its tensor, as the table takes it; ledger_key: where it is there already.
  void Add(const StoredClip& clip, const StoredPlace& place, const Content& content, pybind11::handle payload,
           pybind11::handle ledger_key = {});
  // Rows, vectors and the contents of these, one behind the other: of as many clips as were said, which were added.
  pybind11::tuple Told() const;

 private:
  const StagingTables& tables_;
  std::size_t vector_bytes_, added_ = 0;
  pybind11::object rows_, vectors_, contents_;
};

}  // namespace memdb_edge
