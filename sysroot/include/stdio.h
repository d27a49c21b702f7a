/* Wrapper over Wine's stdio.h: the C++ template overloads that deduce a buffer's size */
#include_next <stdio.h>
#if defined(__cplusplus) && !defined(SYSROOT_STDIO_OVERLOADS)
#define SYSROOT_STDIO_OVERLOADS
#include <stdarg.h>
extern "C++" {
template <size_t N> inline int _snprintf_s(char (&b)[N], size_t n, const char *f, ...) { va_list a; va_start(a, f); int r = _vsnprintf_s(b, N, n, f, a); va_end(a); return r; }
template <size_t N> inline int sprintf_s(char (&b)[N], const char *f, ...) { va_list a; va_start(a, f); int r = vsprintf_s(b, N, f, a); va_end(a); return r; }
}
#endif
