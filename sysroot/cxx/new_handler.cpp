// std::set_new_handler over the UCRT's _set_new_handler, whose handlers take a size and say whether to try again.
#include <vcruntime_new.h>

extern "C" __declspec(dllimport) int (*__cdecl _set_new_handler(int(__cdecl *)(size_t)))(size_t);

static std::new_handler handler;

static int __cdecl call_handler(size_t) {
  handler();
  return 1;
}

namespace std {
new_handler __cdecl get_new_handler() noexcept { return handler; }

new_handler __cdecl set_new_handler(new_handler next) noexcept {
  new_handler previous = handler;
  handler = next;
  _set_new_handler(next ? call_handler : nullptr);
  return previous;
}
} // namespace std
