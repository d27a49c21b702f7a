/* Wrapper over Wine's stdlib.h: quick_exit, which Wine has in process.h, and what belongs to it. */
#include_next <stdlib.h>
#ifndef SYSROOT_QUICK_EXIT
#define SYSROOT_QUICK_EXIT
#include <corecrt_startup.h>
#ifdef __cplusplus
extern "C" {
#endif
_ACRTIMP DECLSPEC_NORETURN void __cdecl quick_exit(int);
static __inline int at_quick_exit(void(__cdecl *function)(void)) { return _crt_at_quick_exit(function); }
#ifdef __cplusplus
}
#endif
#endif
