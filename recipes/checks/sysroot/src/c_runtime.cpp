// Functions of the C runtime that Wine's headers lack, or declare otherwise than the Universal CRT has them.
#include "c_runtime.h"
#include "check.h"

#include <cfenv>
#include <cinttypes>
#include <cmath>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <cuchar>
#include <cwchar>

// The size that the Universal CRT writes: <corecrt.h>'s _Mbstatet.
static_assert(sizeof(std::mbstate_t) == 8);
static_assert(sizeof(std::sig_atomic_t) == 4);

template <class Character>
static int scan(int (*function)(const Character *, const Character *, va_list), const Character *text,
                const Character *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = function(text, format, arguments);
  va_end(arguments);
  return count;
}

static void mathematics() {
  check("nan", std::isnan(std::nan("")) && std::isnan(std::nanf("")) && std::isnan(std::nanl("")));
  check("isnormal", std::isnormal(1.0) && !std::isnormal(1e-310) && std::isnormal(1) && !std::isnormal(1e-40f));
  const double nan = std::nan("");
  check("ordered", std::isless(1, 2.5) && std::isgreaterequal(2.0f, 2) && !std::isgreater(nan, 0.0) &&
                       std::isunordered(nan, 1.0f) && !std::islessgreater(1.0, 1.0));
  volatile long double half = 0.5L;
  long double whole;
  int exponent;
  check("long double, in headers", ::sinl(half) == std::sin(0.5) && ::hypotl(half * 6, half * 8) == 5 &&
                                       ::modfl(half * 3, &whole) == 0.5L && whole == 1 &&
                                       ::frexpl(half * 16, &exponent) == 0.5L && exponent == 4);
  check("long double, exported", ::roundl(half) == 1 && ::fmal(half, half, half) == 0.75L && ::llroundl(half * 5) == 3 &&
                                     std::fabs(::erfcl(half) - std::erfc(0.5)) < 1e-15);
}

static void floating_point_environment() {
  std::feclearexcept(FE_ALL_EXCEPT);
  check("feraiseexcept", std::feraiseexcept(FE_DIVBYZERO) == 0 && std::fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO);
  std::fenv_t environment;
  std::feholdexcept(&environment);
  std::feraiseexcept(FE_INVALID);
  check("feupdateenv", std::feupdateenv(&environment) == 0 && std::fetestexcept(FE_INVALID) == FE_INVALID &&
                           std::fetestexcept(FE_DIVBYZERO) == FE_DIVBYZERO);
  std::feclearexcept(FE_ALL_EXCEPT);
}

static void characters() {
  int number = 0;
  check("vsscanf", scan(std::vsscanf, "7 = seven", "%d", &number) == 1 && number == 7);
  check("vswscanf", scan(std::vswscanf, L"8 = eight", L"%d", &number) == 1 && number == 8);
  int (*const wide_scan)(const wchar_t *, ...) = std::wscanf;
  check("wscanf", wide_scan != nullptr);

  // What stands behind the state must be left alone.
  struct {
    std::mbstate_t state;
    unsigned char behind[8];
  } guarded = {{}, {1, 2, 3, 4, 5, 6, 7, 8}};
  wchar_t wide = 0;
  const bool converted = std::mbrtowc(&wide, "a", 1, &guarded.state) == 1 && wide == L'a';
  check("mbrtowc", converted && std::mbsinit(&guarded.state) && guarded.behind[0] == 1 && guarded.behind[7] == 8);
  // Wine exports these and does not have them: only that they link is known.
  size_t (*const to_utf16)(char16_t *, const char *, size_t, std::mbstate_t *) = std::mbrtoc16;
  intmax_t (*const to_integer)(const wchar_t *, wchar_t **, int) = std::wcstoimax;
  std::imaxdiv_t (*const divide)(intmax_t, intmax_t) = std::imaxdiv;
  check("mbrtoc16, wcstoimax, imaxdiv", to_utf16 != nullptr && to_integer != nullptr && divide != nullptr);
  check("fwide", std::fwide(stdout, 0) == 0);
  check("imaxabs", std::imaxabs(-9) == 9);
}

void c_runtime() {
  mathematics();
  floating_point_environment();
  characters();
  std::timespec now = {};
  check("timespec_get", std::timespec_get(&now, TIME_UTC) == TIME_UTC && now.tv_sec > 0 && now.tv_nsec < 1000000000);
  check("headers in C", c_headers());
  check("at_quick_exit", std::at_quick_exit([] {}) == 0);
}
