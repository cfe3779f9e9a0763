#include "commit.h"

#include <sys/types.h>
#include <unistd.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace py = pybind11;

namespace memdb_edge {

namespace {

// As lmdb.h 0.9 has them; nothing is linked against an LMDB, whose functions are those that the process has loaded.
struct Value {
  std::size_t size;
  void* data;
};
struct Functions {
  int (*begin)(void* env, void* parent, unsigned flags, void** txn);
  int (*open)(void* txn, const char* name, unsigned flags, unsigned* dbi);
  int (*get)(void* txn, unsigned dbi, Value* key, Value* value);
  int (*put)(void* txn, unsigned dbi, Value* key, Value* value, unsigned flags);
  int (*commit)(void* txn);
  void (*abort)(void* txn);
  int (*path)(void* env, const char** path);
  const char* (*error)(int code);
};

constexpr unsigned kAppend = 0x20000;
constexpr int kNotFound = -30798;

// The beginning of py-lmdb 3.0.0's EnvObject, on the 64-bit systems that memdb runs on, and the size of all of it.
struct Environment {
  PyObject_HEAD
  void* siblings[2];
  void* children[2];
  int valid;
  PyObject* weaklist;
  void* env;
  const void* api;
  void* main_db;
  int readonly;
};
constexpr Py_ssize_t kEnvironmentBytes = 248;
static_assert(sizeof(void*) == 8 && offsetof(Environment, env) == 64 && offsetof(Environment, readonly) == 88);

// Views of some objects' bytes, which live and stay where they are as long as this does.
class Views {
 public:
  Views() = default;
  Views(const Views&) = delete;
  Views& operator=(const Views&) = delete;
  ~Views() {
    for (auto& view : views_) PyBuffer_Release(&view);
  }
  Value Of(const py::handle& object) {
    auto& view = views_.emplace_back();
    if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_SIMPLE) != 0) {
      views_.pop_back();
      throw py::error_already_set();
    }
    return {static_cast<std::size_t>(view.len), view.buf};
  }

 private:
  std::deque<Py_buffer> views_;
};

struct Entry {
  Value key;
  Value value;
};

struct Table {
  std::string name;
  unsigned flags;
  std::vector<Entry> entries;
};

struct Known {
  std::string table;
  Value key;
  Value value;
};

struct Outcome {
  const char* what = "";  // the function that refused
  int code = 0;
  bool stale = false;
};

// Who comes first goes to LMDB first, of those who commit to one environment: LMDB's own lock is whose it happens to be,
// and who was decided behind another is written behind it or not at all.
class Lines {
 public:
  // Those of this process; asked for under the interpreter's lock.  A child of a fork begins anew: who stands in a line
  // that it inherited, or holds the mutex, is not there, and nothing that others may hold can be destroyed.
  static Lines& OfThisProcess() {
    static Lines* lines = nullptr;
    static pid_t process = 0;
    if (lines == nullptr || process != getpid()) {
      lines = new Lines();
      process = getpid();
    }
    return *lines;
  }
  // Stand in an environment's line.
  std::uint64_t Join(void* env) {
    std::lock_guard<std::mutex> lock(mutex_);
    return lines_[env].last++;
  }
  // Wait to be its first.
  void Wait(void* env, std::uint64_t place) noexcept {
    std::unique_lock<std::mutex> lock(mutex_);
    moved_.wait(lock, [&] { return lines_.find(env)->second.first == place; });
  }
  // The first goes.
  void Leave(void* env) noexcept {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto line = lines_.find(env);
    if (++line->second.first == line->second.last) {
      lines_.erase(line);
    } else {
      moved_.notify_all();
    }
  }

 private:
  struct Line {
    std::uint64_t first = 0, last = 0;
  };
  std::mutex mutex_;
  std::condition_variable moved_;
  std::unordered_map<void*, Line> lines_;
};

class Commit {
 public:
  Commit(const py::type& type, std::uintptr_t api, std::uintptr_t begin, std::uintptr_t open, std::uintptr_t get,
         std::uintptr_t put, std::uintptr_t commit, std::uintptr_t abort, std::uintptr_t path, std::uintptr_t error)
      : type_(type), api_(reinterpret_cast<const void*>(api)) {
    functions_.begin = reinterpret_cast<decltype(functions_.begin)>(begin);
    functions_.open = reinterpret_cast<decltype(functions_.open)>(open);
    functions_.get = reinterpret_cast<decltype(functions_.get)>(get);
    functions_.put = reinterpret_cast<decltype(functions_.put)>(put);
    functions_.commit = reinterpret_cast<decltype(functions_.commit)>(commit);
    functions_.abort = reinterpret_cast<decltype(functions_.abort)>(abort);
    functions_.path = reinterpret_cast<decltype(functions_.path)>(path);
    functions_.error = reinterpret_cast<decltype(functions_.error)>(error);
    if (reinterpret_cast<PyTypeObject*>(type.ptr())->tp_basicsize != kEnvironmentBytes) {
      throw py::value_error("another py-lmdb");
    }
  }

  py::bytes Path(py::handle environment) const {
    const char* path = nullptr;
    if (functions_.path(Its(environment), &path) != 0 || path == nullptr) throw py::value_error("no path");
    return py::bytes(path);
  }

  // Handles, and what is deleted by hand: a thread that comes back while the interpreter ends is unwound to its end
  // without the lock, and may touch nothing of Python's then.
  py::object Run(py::handle environment, py::handle known, py::handle tables) {
    void* env = Its(environment);
    auto views = std::make_unique<Views>();
    Known its_known;
    std::vector<Table> all;
    {
      const auto told = py::cast<py::tuple>(known);
      its_known = {py::cast<py::bytes>(told[0]), views->Of(told[1]), views->Of(told[2])};
      for (const auto& item : py::cast<py::list>(tables)) TakeTable(py::cast<py::tuple>(item), *views, all);
    }
    Lines& lines = Lines::OfThisProcess();
    const std::uint64_t place = lines.Join(env);
    Views* const kept = views.release();
    PyThreadState* const state = PyEval_SaveThread();
    lines.Wait(env, place);
    const Outcome outcome = Written(env, its_known, all);
    lines.Leave(env);
    PyEval_RestoreThread(state);
    delete kept;
    if (outcome.stale) return py::bool_(false);
    if (outcome.code == 0) return py::none();
    try {
      return py::make_tuple(outcome.what, outcome.code, functions_.error(outcome.code));
    } catch (const std::exception&) {
      PyErr_Clear();
      return py::bool_(true);  // without memory it is said that it was refused, and no more
    }
  }

 private:
  // The MDB_env of an environment that is open for writing: nothing of LMDB is touched before that is known.
  void* Its(py::handle environment) const {
    if (Py_TYPE(environment.ptr()) != reinterpret_cast<PyTypeObject*>(type_.ptr())) throw py::type_error("environment");
    const auto& its = *reinterpret_cast<const Environment*>(environment.ptr());
    if (its.valid != 1 || its.env == nullptr || its.readonly != 0) throw py::value_error("not open for writing");
    if (its.api != api_) throw py::value_error("another LMDB");
    return its.env;
  }

  static void TakeTable(const py::tuple& told, Views& views, std::vector<Table>& all) {
    auto& table = all.emplace_back();
    table.name = py::cast<py::bytes>(told[0]);
    table.flags = py::cast<bool>(told[2]) ? kAppend : 0;
    for (const auto& [key, value] : py::cast<py::dict>(told[1])) {
      const Value its_key = views.Of(key);
      table.entries.push_back({its_key, views.Of(value)});
    }
  }

  Outcome Written(void* env, Known& known, std::vector<Table>& tables) const noexcept {
    void* txn = nullptr;
    if (const int code = functions_.begin(env, nullptr, 0, &txn)) return {"mdb_txn_begin", code};
    Outcome outcome = Filled(txn, known, tables);
    if (outcome.stale || outcome.code != 0) {
      functions_.abort(txn);
    } else {
      outcome = {"mdb_txn_commit", functions_.commit(txn)};
    }
    return outcome;
  }

  Outcome Filled(void* txn, Known& known, std::vector<Table>& tables) const noexcept {
    // Tables are open, so that this finds their numbers and no more.
    unsigned dbi = 0;
    if (const int code = functions_.open(txn, known.table.c_str(), 0, &dbi)) return {"mdb_dbi_open", code};
    Value found{};
    const int code = functions_.get(txn, dbi, &known.key, &found);
    if (code != 0 && code != kNotFound) return {"mdb_get", code};
    if (code != 0 || found.size != known.value.size ||
        std::memcmp(found.data, known.value.data, found.size) != 0) {
      return {"", 0, true};
    }
    for (auto& table : tables) {
      if (const int failed = functions_.open(txn, table.name.c_str(), 0, &dbi)) return {"mdb_dbi_open", failed};
      for (auto& entry : table.entries) {
        if (const int failed = functions_.put(txn, dbi, &entry.key, &entry.value, table.flags)) {
          return {"mdb_put", failed};
        }
      }
    }
    return {};
  }

  py::type type_;
  const void* api_;
  Functions functions_{};
};

}  // namespace

void DefineCommit(py::module_& module) {
  using Address = std::uintptr_t;
  py::class_<Commit>(module, "Commit")
      .def(py::init<const py::type&, Address, Address, Address, Address, Address, Address, Address, Address, Address>(),
           py::arg("environment"), py::arg("api"), py::arg("begin"), py::arg("open"), py::arg("get"), py::arg("put"),
           py::arg("commit"), py::arg("abort"), py::arg("path"), py::arg("error"))
      .def("path", &Commit::Path)
      .def("run", &Commit::Run);
}

}  // namespace memdb_edge
