#include "ids_module.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "number_mac.h"
#include "python_memory.h"

namespace py = pybind11;

namespace memdb_edge {

namespace {

constexpr std::size_t kIdDigits = 32, kVarintBytesMax = 10;
constexpr char kLength = 2;                                    // a wire type
constexpr char kAckTag = 1 << 3 | kLength;                     // IngestAcks.acks
constexpr char kIdTag = 1 << 3 | kLength, kRevisionTag = 2 << 3;  // of ClipAck

NumberMac MacOf(const py::bytes& key) {
  const std::string_view bytes = key;
  if (bytes.size() > kMacKeyBytesMax) throw py::value_error("key");
  return NumberMac(bytes);
}

void PutDigits(std::uint8_t byte, char* out) {
  constexpr char digits[] = "0123456789abcdef";
  out[0] = digits[byte >> 4];
  out[1] = digits[byte & 0xf];
}

void PutId(const NumberMac& mac, std::uint64_t number, char* out) {
  const std::uint64_t check = mac.Of(number);
  for (int byte = 0; byte < 8; ++byte) {
    PutDigits(static_cast<std::uint8_t>(number >> (56 - 8 * byte)), out + 2 * byte);
    PutDigits(static_cast<std::uint8_t>(check >> (8 * byte)), out + 16 + 2 * byte);
  }
}

py::object MakeIds(const py::bytes& key, std::uint64_t first, std::size_t count) {
  const NumberMac mac = MacOf(key);
  const py::object made = Made(PyList_New(static_cast<Py_ssize_t>(count)));
  for (std::size_t place = 0; place < count; ++place) {
    const py::object id = Made(PyUnicode_New(kIdDigits, 127));
    PutId(mac, first + place, reinterpret_cast<char*>(PyUnicode_1BYTE_DATA(id.ptr())));
    PyList_SET_ITEM(made.ptr(), static_cast<Py_ssize_t>(place), id.inc_ref().ptr());
  }
  return made;
}

py::object AckFields(const py::bytes& key, std::uint64_t first, std::size_t count, std::uint64_t revision) {
  const NumberMac mac = MacOf(key);
  char behind[1 + kVarintBytesMax];
  std::size_t behind_bytes = 0;
  if (revision != 0) {
    behind[behind_bytes++] = kRevisionTag;
    std::uint64_t rest = revision;
    for (; rest >= 0x80; rest >>= 7) behind[behind_bytes++] = static_cast<char>(rest | 0x80);
    behind[behind_bytes++] = static_cast<char>(rest);
  }
  // Lengths of one byte.
  const char before[] = {kAckTag, static_cast<char>(2 + kIdDigits + behind_bytes), kIdTag, kIdDigits};
  const std::size_t each = sizeof(before) + kIdDigits + behind_bytes;
  if (count > static_cast<std::size_t>(PY_SSIZE_T_MAX) / each) throw py::value_error("count");
  const py::object made = Made(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(count * each)));
  char* out = PyBytes_AS_STRING(made.ptr());
  for (std::size_t place = 0; place < count; ++place) {
    std::memcpy(out, before, sizeof(before));
    PutId(mac, first + place, out + sizeof(before));
    std::memcpy(out + sizeof(before) + kIdDigits, behind, behind_bytes);
    out += each;
  }
  return made;
}

}  // namespace

void DefineIds(py::module_& module) {
  module.def("make_ids", &MakeIds, py::arg("key"), py::arg("first"), py::arg("count"));
  module.def("ack_fields", &AckFields, py::arg("key"), py::arg("first"), py::arg("count"), py::arg("revision"));
}

}  // namespace memdb_edge
