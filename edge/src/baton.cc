#include "baton.h"

#include <chrono>
#include <memory>

namespace py = pybind11;

namespace memdb_edge {

namespace {

// So long who ends waits for who goes on to be at work; nothing hangs on it but who has a processor first.
constexpr std::chrono::microseconds kBegins{500};

}  // namespace

void Baton::End(bool made) noexcept {
  std::unique_lock<std::mutex> lock(mutex_);
  if (ended_) return;
  ended_ = true;
  open_ = open_ && made;
  handed_ = open_ && waiting_;
  changed_.notify_all();
  if (handed_) changed_.wait_for(lock, kBegins, [this] { return begun_; });
}

Baton::Came Baton::Wait() noexcept {
  std::unique_lock<std::mutex> lock(mutex_);
  waiting_ = true;
  changed_.wait(lock, [this] { return called_ || ended_ || !open_; });
  waiting_ = false;
  // Who comes before it is closed has it as well.
  if (ended_ && open_) handed_ = true;
  if (handed_) {
    begun_ = true;
    changed_.notify_all();
    return Came::kHanded;
  }
  if (!open_) return Came::kEnded;
  called_ = false;
  return Came::kCalled;
}

void Baton::Call() noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  called_ = true;
  changed_.notify_all();
}

bool Baton::Close() noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  open_ = false;
  ended_ = true;
  changed_.notify_all();
  return handed_;
}

bool Baton::waited_for() noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  return waiting_;
}

void Baton::WaitForEnd() noexcept {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return ended_; });
}

void DefineBaton(py::module_& module) {
  py::class_<Baton, std::shared_ptr<Baton>>(module, "Baton")
      .def(py::init<>())
      .def_property_readonly("waited_for", &Baton::waited_for)
      .def("call", &Baton::Call)
      .def("close", &Baton::Close)
      .def("wait_for_end", &Baton::WaitForEnd, py::call_guard<py::gil_scoped_release>());
}

}  // namespace memdb_edge
