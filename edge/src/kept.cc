#include "kept.h"

#include <mutex>
#include <utility>

namespace memdb_edge {

namespace {

struct Held {
  PyObject* object;
  Held* next;
};

// Objects that a thread without the interpreter's lock has let go of, until one with it comes by.  To let go takes no
// memory: there may be none, and whoever does it may not fail.
class Graveyard {
 public:
  void Put(Held* held) noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    held->next = first_;
    first_ = held;
  }
  void Clear() {
    Held* held = nullptr;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      std::swap(held, first_);
    }
    while (held != nullptr) {
      Held* const next = held->next;
      Py_DECREF(held->object);
      delete held;
      held = next;
    }
  }

 private:
  std::mutex mutex_;
  Held* first_ = nullptr;
};

Graveyard& Dead() {
  static auto* dead = new Graveyard;  // never destroyed: threads may outlive the module
  return *dead;
}

}  // namespace

std::shared_ptr<void> Kept(const pybind11::object& object) {
  auto* held = new Held{object.ptr(), nullptr};
  Py_INCREF(held->object);
  return {static_cast<void*>(held), [](void* kept) { Dead().Put(static_cast<Held*>(kept)); }};
}

void ClearDead() { Dead().Clear(); }

}  // namespace memdb_edge
