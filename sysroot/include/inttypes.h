/* Wrapper over Wine's inttypes.h: functions that the Universal CRT exports besides. */
#include_next <inttypes.h>
#ifndef SYSROOT_INTTYPES
#define SYSROOT_INTTYPES
#ifdef __cplusplus
extern "C" {
#endif
_ACRTIMP __int64 __cdecl imaxabs(__int64);
_ACRTIMP imaxdiv_t __cdecl imaxdiv(__int64, __int64);
_ACRTIMP __int64 __cdecl wcstoimax(const wchar_t *, wchar_t **, int);
_ACRTIMP unsigned __int64 __cdecl wcstoumax(const wchar_t *, wchar_t **, int);
#ifdef __cplusplus
}
#endif
#endif
