#include "file_module.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <system_error>
#include <vector>

#include "payload.h"
#include "tree.h"

namespace py = pybind11;

namespace memdb_edge {

void DefineFiles(py::module_& module) {
  module.def(
      "ordinary_pages",
      [](int fd, std::size_t page_bytes, std::uint64_t end, bool values, std::uint64_t root, std::uint64_t depth,
         std::uint64_t branch_pages, std::uint64_t leaf_pages, std::uint64_t overflow_pages,
         std::uint64_t entries) -> py::object {
        std::vector<std::int64_t> pages;
        bool is_ordinary = false;
        {
          const py::gil_scoped_release release;
          is_ordinary = OrdinaryPages({fd, page_bytes, end, values},
                                      {root, depth, branch_pages, leaf_pages, overflow_pages, entries}, &pages);
        }
        if (!is_ordinary) return py::none();
        return py::array_t<std::int64_t>(static_cast<py::ssize_t>(pages.size()), pages.data());
      },
      py::arg("fd"), py::arg("page_bytes"), py::arg("end"), py::arg("values"), py::arg("root"), py::arg("depth"),
      py::arg("branch_pages"), py::arg("leaf_pages"), py::arg("overflow_pages"), py::arg("entries"));
  module.def(
      "checksum_of",
      [](int fd, std::uint64_t from, std::size_t bytes) -> std::optional<std::uint64_t> {
        try {
          const py::gil_scoped_release release;
          return ChecksumOf(fd, from, bytes);
        } catch (const std::system_error& error) {
          errno = error.code().value();
          PyErr_SetFromErrno(PyExc_OSError);
          throw py::error_already_set();
        }
      },
      py::arg("fd"), py::arg("offset"), py::arg("length"));
}

}  // namespace memdb_edge
