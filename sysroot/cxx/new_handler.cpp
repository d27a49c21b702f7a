// The new-handler of this image.
//
// Contract of C++ ([alloc.errors], [new.delete.single]): operator new calls the installed handler until there is memory
// or none is installed; setting and getting it is free of data races. The Universal CRT is told as well, so that other
// images and malloc (with _set_new_mode) find it; Wine 10's forgets it, so that operator new asks here first.
#include <vcruntime_new.h>

extern "C" {
// Its handlers take the size and say whether to try again.
__declspec(dllimport) int (*__cdecl _set_new_handler(int(__cdecl *)(size_t)))(size_t);
void *_InterlockedExchangePointer(void *volatile *, void *);
}
#pragma intrinsic(_InterlockedExchangePointer)

// An aligned pointer is read in one piece on x64.
static void *volatile handler;

static int __cdecl call_handler(size_t) {
  if (std::new_handler current = std::get_new_handler()) {
    current();
    return 1;
  }
  return 0;
}

namespace std {
new_handler __cdecl get_new_handler() noexcept { return reinterpret_cast<new_handler>(handler); }

new_handler __cdecl set_new_handler(new_handler next) noexcept {
  void *previous = _InterlockedExchangePointer(&handler, reinterpret_cast<void *>(next));
  _set_new_handler(next ? call_handler : nullptr);
  return reinterpret_cast<new_handler>(previous);
}
} // namespace std
