/* Wrapper over Wine's time.h: gmtime_s, which stands beside localtime_s in Microsoft's (time_t has 64 bits). */
#include_next <time.h>
#ifndef SYSROOT_GMTIME_S
#define SYSROOT_GMTIME_S
#ifdef __cplusplus
extern "C" {
#endif
static __inline errno_t gmtime_s(struct tm *result, const time_t *time) { return _gmtime64_s(result, time); }
#ifdef __cplusplus
}
#endif
#endif
