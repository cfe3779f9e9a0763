#include "kept.h"

#include <mutex>
#include <vector>

namespace memdb_edge {

namespace {

// Objects that a thread without the interpreter's lock has let go of, until one with it comes by.
class Graveyard {
 public:
  void Put(PyObject* object) {
    std::lock_guard<std::mutex> lock(mutex_);
    objects_.push_back(object);
  }
  void Clear() {
    std::vector<PyObject*> objects;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      objects.swap(objects_);
    }
    for (PyObject* object : objects) Py_DECREF(object);
  }

 private:
  std::mutex mutex_;
  std::vector<PyObject*> objects_;
};

Graveyard& Dead() {
  static auto* dead = new Graveyard;  // never destroyed: threads may outlive the module
  return *dead;
}

}  // namespace

std::shared_ptr<void> Kept(const pybind11::object& object) {
  PyObject* raw = object.ptr();
  Py_INCREF(raw);
  return {static_cast<void*>(raw), [](void* kept) { Dead().Put(static_cast<PyObject*>(kept)); }};
}

void ClearDead() { Dead().Clear(); }

}  // namespace memdb_edge
