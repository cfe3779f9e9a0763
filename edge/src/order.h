// What ThreadSanitizer cannot see: gRPC, which is not built with it, has what was done before a start happen before its
// end is told, and all that it told of a call before OnDone.
#pragma once

#if defined(__SANITIZE_THREAD__)
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace memdb_edge {

class Order {
 public:
#if defined(__SANITIZE_THREAD__)
  void Before() { __tsan_release(this); }
  void After() { __tsan_acquire(this); }

 private:
  char place_ = 0;
#else
  void Before() {}
  void After() {}
#endif
};

}  // namespace memdb_edge
