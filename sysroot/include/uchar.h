/* In place of Wine's uchar.h, which defines the character types of C in C++ as well. */
#ifndef SYSROOT_UCHAR
#define SYSROOT_UCHAR
#include <wchar.h>
#ifndef __cplusplus
typedef unsigned short char16_t;
typedef unsigned int char32_t;
#else
extern "C" {
#endif
_ACRTIMP size_t __cdecl c16rtomb(char *, char16_t, mbstate_t *);
_ACRTIMP size_t __cdecl c32rtomb(char *, char32_t, mbstate_t *);
_ACRTIMP size_t __cdecl mbrtoc16(char16_t *, const char *, size_t, mbstate_t *);
_ACRTIMP size_t __cdecl mbrtoc32(char32_t *, const char *, size_t, mbstate_t *);
#ifdef __cplusplus
}
#endif
#endif
