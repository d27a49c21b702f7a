/* Wrapper over Wine's stdio.h: what Microsoft's header defines, and the overloads of C++ that deduce a buffer's size. */
#include_next <stdio.h>
#ifndef SYSROOT_STDIO
#define SYSROOT_STDIO
#include <stdarg.h>
#ifdef __cplusplus
extern "C" {
#endif
static __inline int vfscanf(FILE *stream, const char *format, va_list arguments) {
  return __stdio_common_vfscanf(_CRT_INTERNAL_LOCAL_SCANF_OPTIONS, stream, format, NULL, arguments);
}
static __inline int vscanf(const char *format, va_list arguments) { return vfscanf(stdin, format, arguments); }
static __inline int vsscanf(const char *text, const char *format, va_list arguments) {
  return __stdio_common_vsscanf(_CRT_INTERNAL_LOCAL_SCANF_OPTIONS, text, (size_t)-1, format, NULL, arguments);
}
#ifdef __cplusplus
}
#endif
#endif
#if defined(__cplusplus) && !defined(SYSROOT_STDIO_OVERLOADS)
#define SYSROOT_STDIO_OVERLOADS
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
