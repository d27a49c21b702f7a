/* Wrapper over Wine's stdio.h: the overloads of C++ that deduce a buffer's size, as Microsoft documents them. */
#include_next <stdio.h>
#if defined(__cplusplus) && !defined(SYSROOT_STDIO_OVERLOADS)
#define SYSROOT_STDIO_OVERLOADS
#include <stdarg.h>
extern "C++" {
template <size_t Size>
inline int _snprintf_s(char (&buffer)[Size], size_t count, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = _vsnprintf_s(buffer, Size, count, format, arguments);
  va_end(arguments);
  return written;
}
template <size_t Size>
inline int sprintf_s(char (&buffer)[Size], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int written = vsprintf_s(buffer, Size, format, arguments);
  va_end(arguments);
  return written;
}
}
#endif
