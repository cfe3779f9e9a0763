#include "staging.h"

#include <cstdint>
#include <cstring>
#include <string_view>

#include "python_memory.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

constexpr int kF16Coding = 1, kF32Coding = 3;  // of memdb/store/envelope.py

py::object Bytes(std::size_t size) {
  return Made(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
}

char* At(py::handle bytes) { return PyBytes_AS_STRING(bytes.ptr()); }

std::string_view Of(py::handle bytes) {
  return {PyBytes_AS_STRING(bytes.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes.ptr()))};
}

void Put(const py::dict& table, py::handle key, py::handle value) {
  if (PyDict_SetItem(table.ptr(), key.ptr(), value.ptr()) != 0) throw py::error_already_set();
}

py::object SealedRecord(py::handle key, std::string_view record) {
  py::object value = Bytes(kHeaderBytes + record.size());
  std::memcpy(At(value) + kHeaderBytes, record.data(), record.size());
  PutHeader({kRecordKind, 0, 0, 0}, Of(key), record, At(value));
  return value;
}

py::object SealedRow(py::handle key, const StoredClip& clip, const StoredPlace& place) {
  py::object value = Bytes(kHeaderBytes + kRowBytes + clip.vector.size());
  char* payload = At(value) + kHeaderBytes;
  PutRow(clip, place, payload);
  std::memcpy(payload + kRowBytes, clip.vector.data(), clip.vector.size());
  const Sealed sealed{kRowKind, clip.halves ? kF16Coding : kF32Coding, 1, static_cast<std::uint32_t>(clip.dim())};
  PutHeader(sealed, Of(key), {payload, kRowBytes + clip.vector.size()}, At(value));
  return value;
}

}  // namespace

Staging::Staging(const StagingTables& tables, std::size_t count, std::size_t vector_bytes)
    : tables_(tables),
      vector_bytes_(vector_bytes),
      rows_(Bytes(count * kRowBytes)),
      vectors_(Bytes(count * vector_bytes)),
      contents_(Bytes(count * sizeof(std::uint64_t))) {}

void Staging::Add(const StoredClip& clip, const StoredPlace& place, const Content& content, py::handle payload,
                  py::handle ledger_key) {
  char record[kRecordBytesMax];
  const py::object key = Bytes(kVersionKeyBytes);
  PutVersionKey(place, At(key));
  const std::size_t length = PutClipRecord(clip, place, content, record);
  Put(tables_.clips, key, SealedRecord(key, {record, length}));

  const py::object vector_key = Bytes(kVectorKeyBytes);
  PutVectorKey(place, At(vector_key));
  const py::object row = SealedRow(vector_key, clip, place);
  Put(tables_.vectors, vector_key, row);
  std::memcpy(At(rows_) + added_ * kRowBytes, At(row) + kHeaderBytes, kRowBytes);
  std::memcpy(At(vectors_) + added_ * vector_bytes_, clip.vector.data(), vector_bytes_);
  const std::uint64_t its_content = VectorContentOf(clip);
  std::memcpy(At(contents_) + added_ * sizeof(its_content), &its_content, sizeof(its_content));

  if (clip.tensor) Put(tables_.short_memory, key, payload);

  py::object its_key;
  if (!ledger_key) {
    its_key = Bytes(kLedgerKeyBytes);
    PutLedgerKey(clip, place, At(its_key));
    ledger_key = its_key;
  }
  const std::size_t its_length = PutLedgerRecord(place, content, record);
  Put(tables_.ledger, ledger_key, SealedRecord(ledger_key, {record, its_length}));
  ++added_;
}

py::tuple Staging::Told() const { return py::make_tuple(rows_, vectors_, contents_); }

}  // namespace memdb_edge
