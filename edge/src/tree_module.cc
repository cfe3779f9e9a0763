#include "tree_module.h"

#include <pybind11/numpy.h>

#include <cstdint>
#include <vector>

#include "tree.h"

namespace py = pybind11;

namespace memdb_edge {

void DefineTree(py::module_& module) {
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
}

}  // namespace memdb_edge
