/* Wrapper over Wine's fenv.h: the two functions that the Universal CRT doesn't export. */
#include_next <fenv.h>
#ifndef SYSROOT_FENV
#define SYSROOT_FENV
#ifdef __cplusplus
extern "C" {
#endif
/* The operations raise them: a status word that is only set would not meet a handler. */
static __inline int feraiseexcept(int exceptions) {
  volatile double zero = 0, one = 1, three = 3, huge = 1e300, tiny = 1e-300, result;
  if (exceptions & FE_INVALID) result = zero / zero;
  if (exceptions & FE_DIVBYZERO) result = one / zero;
  if (exceptions & FE_OVERFLOW) result = huge * huge;
  if (exceptions & FE_UNDERFLOW) result = tiny * tiny;
  if (exceptions & FE_INEXACT) result = one / three;
  (void)result;
  return 0;
}
static __inline int feupdateenv(const fenv_t *environment) {
  int raised = fetestexcept(FE_ALL_EXCEPT);
  return fesetenv(environment) || feraiseexcept(raised);
}
#ifdef __cplusplus
}
#endif
#endif
