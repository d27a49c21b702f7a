/* Wrapper over Wine's math.h: what C99 has besides, the functions that the Universal CRT exports and those that Microsoft's
   header defines. `long double` is `double` in this ABI. */
#include_next <math.h>
#ifndef SYSROOT_MATH
#define SYSROOT_MATH
typedef float float_t;
typedef double double_t;
#ifdef __cplusplus
extern "C" {
#endif
_ACRTIMP double __cdecl nan(const char *);
_ACRTIMP double __cdecl nexttoward(double, long double);
_ACRTIMP double __cdecl erfc(double);
_ACRTIMP float __cdecl erfcf(float);
_ACRTIMP float __cdecl nanf(const char *);
_ACRTIMP float __cdecl nexttowardf(float, long double);
_ACRTIMP long double __cdecl acoshl(long double);
_ACRTIMP long double __cdecl asinhl(long double);
_ACRTIMP long double __cdecl atanhl(long double);
_ACRTIMP long double __cdecl cbrtl(long double);
_ACRTIMP long double __cdecl copysignl(long double, long double);
_ACRTIMP long double __cdecl erfcl(long double);
_ACRTIMP long double __cdecl erfl(long double);
_ACRTIMP long double __cdecl exp2l(long double);
_ACRTIMP long double __cdecl expm1l(long double);
_ACRTIMP long double __cdecl fdiml(long double, long double);
_ACRTIMP long double __cdecl fmal(long double, long double, long double);
_ACRTIMP long double __cdecl fmaxl(long double, long double);
_ACRTIMP long double __cdecl fminl(long double, long double);
_ACRTIMP int __cdecl ilogbl(long double);
_ACRTIMP long double __cdecl lgammal(long double);
_ACRTIMP __int64 __cdecl llrintl(long double);
_ACRTIMP __int64 __cdecl llroundl(long double);
_ACRTIMP long double __cdecl log1pl(long double);
_ACRTIMP long double __cdecl log2l(long double);
_ACRTIMP long double __cdecl logbl(long double);
_ACRTIMP __msvcrt_long __cdecl lrintl(long double);
_ACRTIMP __msvcrt_long __cdecl lroundl(long double);
_ACRTIMP long double __cdecl nanl(const char *);
_ACRTIMP long double __cdecl nearbyintl(long double);
_ACRTIMP long double __cdecl nextafterl(long double, long double);
_ACRTIMP long double __cdecl nexttowardl(long double, long double);
_ACRTIMP long double __cdecl remainderl(long double, long double);
_ACRTIMP long double __cdecl remquol(long double, long double, int *);
_ACRTIMP long double __cdecl rintl(long double);
_ACRTIMP long double __cdecl roundl(long double);
_ACRTIMP long double __cdecl scalblnl(long double, __msvcrt_long);
_ACRTIMP long double __cdecl scalbnl(long double, int);
_ACRTIMP long double __cdecl tgammal(long double);
_ACRTIMP long double __cdecl truncl(long double);
static __inline long double acosl(long double x) { return acos((double)x); }
static __inline long double asinl(long double x) { return asin((double)x); }
static __inline long double atanl(long double x) { return atan((double)x); }
static __inline long double ceill(long double x) { return ceil((double)x); }
static __inline long double coshl(long double x) { return cosh((double)x); }
static __inline long double cosl(long double x) { return cos((double)x); }
static __inline long double expl(long double x) { return exp((double)x); }
static __inline long double fabsl(long double x) { return fabs((double)x); }
static __inline long double floorl(long double x) { return floor((double)x); }
static __inline long double fmodl(long double x, long double y) { return fmod((double)x, (double)y); }
static __inline long double frexpl(long double x, int *exponent) { return frexp((double)x, exponent); }
static __inline long double hypotl(long double x, long double y) { return _hypot((double)x, (double)y); }
static __inline long double ldexpl(long double x, int exponent) { return ldexp((double)x, exponent); }
static __inline long double log10l(long double x) { return log10((double)x); }
static __inline long double logl(long double x) { return log((double)x); }
static __inline long double modfl(long double x, long double *whole) { return modf((double)x, (double *)whole); }
static __inline long double powl(long double x, long double y) { return pow((double)x, (double)y); }
static __inline long double sinhl(long double x) { return sinh((double)x); }
static __inline long double sinl(long double x) { return sin((double)x); }
static __inline long double sqrtl(long double x) { return sqrt((double)x); }
static __inline long double tanhl(long double x) { return tanh((double)x); }
static __inline long double tanl(long double x) { return tan((double)x); }
#ifdef __cplusplus
}
/* In C++ these are functions, not macros; libc++ relies on the C runtime for them. */
#undef isgreater
#undef isgreaterequal
#undef isless
#undef islessequal
#undef islessgreater
#undef isunordered
extern "C++" {
template <class T> inline bool isnormal(T x) noexcept { return fpclassify((double)x) == FP_NORMAL; }
template <> inline bool isnormal(float x) noexcept { return fpclassify(x) == FP_NORMAL; }
template <class X, class Y> inline bool isgreater(X x, Y y) noexcept { return __builtin_isgreater((double)x, (double)y); }
template <class X, class Y> inline bool isgreaterequal(X x, Y y) noexcept { return __builtin_isgreaterequal((double)x, (double)y); }
template <class X, class Y> inline bool isless(X x, Y y) noexcept { return __builtin_isless((double)x, (double)y); }
template <class X, class Y> inline bool islessequal(X x, Y y) noexcept { return __builtin_islessequal((double)x, (double)y); }
template <class X, class Y> inline bool islessgreater(X x, Y y) noexcept { return __builtin_islessgreater((double)x, (double)y); }
template <class X, class Y> inline bool isunordered(X x, Y y) noexcept { return __builtin_isunordered((double)x, (double)y); }
}
#endif
#endif
