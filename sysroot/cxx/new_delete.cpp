// The replaceable allocation functions of C++17. Contract: each image holds them itself, so that it may replace them;
// plain ones are malloc and free, aligned ones the UCRT's _aligned_malloc and _aligned_free. When there is no memory the
// new-handler is called for as long as there is one: this image's, else the one of the process (_callnewh).
#include <vcruntime_new.h>

extern "C" {
__declspec(dllimport) void *malloc(size_t);
__declspec(dllimport) void free(void *);
__declspec(dllimport) void *_aligned_malloc(size_t, size_t);
__declspec(dllimport) void _aligned_free(void *);
__declspec(dllimport) int _callnewh(size_t);
}

using std::align_val_t;
using std::nothrow_t;

template <class Allocate> static void *allocate(size_t size, Allocate allocate_once) {
  for (;;) {
    // An object of no size still has an address of its own.
    if (void *memory = allocate_once(size ? size : 1)) return memory;
    if (std::new_handler handler = std::get_new_handler())
      handler();
    else if (!_callnewh(size))
      throw std::bad_alloc();
  }
}

template <class Allocate> static void *allocate_or_null(Allocate allocate) noexcept {
  try {
    return allocate();
  } catch (...) {
    return nullptr;
  }
}

void *operator new(size_t size) { return allocate(size, malloc); }
void *operator new(size_t size, align_val_t alignment) {
  return allocate(size, [=](size_t bytes) { return _aligned_malloc(bytes, static_cast<size_t>(alignment)); });
}
void *operator new[](size_t size) { return operator new(size); }
void *operator new[](size_t size, align_val_t alignment) { return operator new(size, alignment); }
void *operator new(size_t size, const nothrow_t &) noexcept {
  return allocate_or_null([=] { return operator new(size); });
}
void *operator new[](size_t size, const nothrow_t &) noexcept {
  return allocate_or_null([=] { return operator new[](size); });
}
void *operator new(size_t size, align_val_t alignment, const nothrow_t &) noexcept {
  return allocate_or_null([=] { return operator new(size, alignment); });
}
void *operator new[](size_t size, align_val_t alignment, const nothrow_t &) noexcept {
  return allocate_or_null([=] { return operator new[](size, alignment); });
}

void operator delete(void *memory) noexcept { free(memory); }
void operator delete(void *memory, const nothrow_t &) noexcept { operator delete(memory); }
void operator delete(void *memory, size_t) noexcept { operator delete(memory); }
void operator delete[](void *memory) noexcept { operator delete(memory); }
void operator delete[](void *memory, const nothrow_t &) noexcept { operator delete[](memory); }
void operator delete[](void *memory, size_t) noexcept { operator delete[](memory); }
void operator delete(void *memory, align_val_t) noexcept { _aligned_free(memory); }
void operator delete(void *memory, align_val_t alignment, const nothrow_t &) noexcept { operator delete(memory, alignment); }
void operator delete(void *memory, size_t, align_val_t alignment) noexcept { operator delete(memory, alignment); }
void operator delete[](void *memory, align_val_t alignment) noexcept { operator delete(memory, alignment); }
void operator delete[](void *memory, align_val_t alignment, const nothrow_t &) noexcept {
  operator delete[](memory, alignment);
}
void operator delete[](void *memory, size_t, align_val_t alignment) noexcept { operator delete[](memory, alignment); }
