/* Included first in every source: what is compiled with this glibc and libstdc++ shall run on systems with glibc 2.28 and GCC 8's libraries.
   The policies (base/manylinux_2_28) hold the result; this makes it so. */

/* As C++ compilers for Linux do: what a source defines for this after an include would come too late. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <features.h>

/* C23's strtol also reads 0b101, and is another function, __isoc23_strtol, since glibc 2.38. */
#undef __GLIBC_USE_C2X_STRTOL
#define __GLIBC_USE_C2X_STRTOL 0
#undef __GLIBC_USE_C23_STRTOL
#define __GLIBC_USE_C23_STRTOL 0

/* Functions that moved to libc from libdl and libpthread (glibc 2.34), or got another treatment of errors (libm, 2.29): the versions before
   are there in every glibc. Where nothing uses one, nothing is left of its line. */
#define TVM_FLOOR(name, version) __asm__(".symver " #name "," #name "@" #version)
TVM_FLOOR(dladdr, GLIBC_2.2.5);
TVM_FLOOR(dlclose, GLIBC_2.2.5);
TVM_FLOOR(dlerror, GLIBC_2.2.5);
TVM_FLOOR(dlopen, GLIBC_2.2.5);
TVM_FLOOR(dlsym, GLIBC_2.2.5);
TVM_FLOOR(pthread_create, GLIBC_2.2.5);
TVM_FLOOR(pthread_detach, GLIBC_2.2.5);
TVM_FLOOR(pthread_getspecific, GLIBC_2.2.5);
TVM_FLOOR(pthread_join, GLIBC_2.2.5);
TVM_FLOOR(pthread_key_create, GLIBC_2.2.5);
TVM_FLOOR(pthread_key_delete, GLIBC_2.2.5);
TVM_FLOOR(pthread_mutex_trylock, GLIBC_2.2.5);
TVM_FLOOR(pthread_once, GLIBC_2.2.5);
TVM_FLOOR(pthread_rwlock_rdlock, GLIBC_2.2.5);
TVM_FLOOR(pthread_rwlock_tryrdlock, GLIBC_2.2.5);
TVM_FLOOR(pthread_rwlock_trywrlock, GLIBC_2.2.5);
TVM_FLOOR(pthread_rwlock_unlock, GLIBC_2.2.5);
TVM_FLOOR(pthread_rwlock_wrlock, GLIBC_2.2.5);
TVM_FLOOR(pthread_setaffinity_np, GLIBC_2.3.4);
TVM_FLOOR(pthread_setspecific, GLIBC_2.2.5);
TVM_FLOOR(sem_post, GLIBC_2.2.5);
TVM_FLOOR(sem_wait, GLIBC_2.2.5);
TVM_FLOOR(exp, GLIBC_2.2.5);
TVM_FLOOR(exp2, GLIBC_2.2.5);
TVM_FLOOR(fmod, GLIBC_2.2.5);
TVM_FLOOR(log, GLIBC_2.2.5);
TVM_FLOOR(log2, GLIBC_2.2.5);
TVM_FLOOR(pow, GLIBC_2.2.5);

#ifdef __cplusplus
#include <bits/c++config.h>
/* Each object initializes the streams that it uses, as it did before libstdc++ 13 did so for all (ios_base_library_init). */
#undef _GLIBCXX_USE_INIT_PRIORITY_ATTRIBUTE
/* std::condition_variable::wait, which became noexcept in GCC 12. */
TVM_FLOOR(_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE, GLIBCXX_3.4.11);
#endif
#undef TVM_FLOOR
