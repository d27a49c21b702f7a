/* Wrapper over Wine's time.h: what stands beside localtime_s in Microsoft's (time_t has 64 bits), and C11's timespec_get. */
#include_next <time.h>
#ifndef SYSROOT_TIME
#define SYSROOT_TIME
#define TIME_UTC 1
#ifdef __cplusplus
extern "C" {
#endif
_ACRTIMP int __cdecl _timespec64_get(struct _timespec64 *, int);
static __inline errno_t gmtime_s(struct tm *result, const time_t *time) { return _gmtime64_s(result, time); }
static __inline int timespec_get(struct timespec *result, int base) {
  return _timespec64_get((struct _timespec64 *)result, base);
}
#ifdef __cplusplus
}
#endif
#endif
