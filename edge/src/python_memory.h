// Python's memory where there is none left.
#pragma once

#include <pybind11/pybind11.h>

#include <new>

namespace memdb_edge {

// What Python has made.  Throws its error where it has not.
inline pybind11::object Made(PyObject* made) {
  if (made == nullptr) throw pybind11::error_already_set();
  return pybind11::reinterpret_steal<pybind11::object>(made);
}

// For types of which C++ makes the objects: pybind11 uses what it asked for unseen.
inline void ThrowsWithoutMemory(PyHeapTypeObject* type) {
  type->ht_type.tp_alloc = [](PyTypeObject* its, Py_ssize_t count) {
    PyObject* made = PyType_GenericAlloc(its, count);
    if (made == nullptr) {
      PyErr_Clear();
      throw std::bad_alloc();
    }
    return made;
  };
}

}  // namespace memdb_edge
