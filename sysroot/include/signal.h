/* Wrapper over Wine's signal.h */
#include_next <signal.h>
#ifndef SYSROOT_SIG_ATOMIC_T
#define SYSROOT_SIG_ATOMIC_T
typedef int sig_atomic_t;
#endif
