/* Wrapper over Wine's wchar.h: what Microsoft's header defines. No character is kept back between calls, as there. */
#include_next <wchar.h>
#ifndef SYSROOT_WCHAR
#define SYSROOT_WCHAR
#include <stdarg.h>
#ifdef __cplusplus
extern "C" {
#endif
static __inline int fwide(FILE *stream, int mode) {
  (void)stream;
  return mode;
}
static __inline int mbsinit(const mbstate_t *state) { return !state || !state->_Wchar; }
static __inline int vfwscanf(FILE *stream, const wchar_t *format, va_list arguments) {
  return __stdio_common_vfwscanf(_CRT_INTERNAL_LOCAL_SCANF_OPTIONS, stream, format, NULL, arguments);
}
static __inline int vswscanf(const wchar_t *text, const wchar_t *format, va_list arguments) {
  return __stdio_common_vswscanf(_CRT_INTERNAL_LOCAL_SCANF_OPTIONS, text, (size_t)-1, format, NULL, arguments);
}
static __inline int vwscanf(const wchar_t *format, va_list arguments) { return vfwscanf(stdin, format, arguments); }
#ifdef __cplusplus
}
#endif
#endif
