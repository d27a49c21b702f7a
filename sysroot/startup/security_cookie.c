/* The cookie of buffer security checks (/GS). */
#include "runtime.h"

/* What the cookie is before start-up; the image loader replaces it where the load configuration names it. */
#define DEFAULT_COOKIE 0x00002B992DDFA232ull

/* Contract of /GS: functions with buffers store it in their frame and call __security_check_cookie with it. */
unsigned long long __security_cookie = DEFAULT_COOKIE;
unsigned long long __security_cookie_complement = ~DEFAULT_COOKIE;

void startup_initialize_cookie(void) {
  unsigned long long time = 0, counter = 0, cookie;
  if (__security_cookie != DEFAULT_COOKIE) return;
  GetSystemTimeAsFileTime(&time);
  QueryPerformanceCounter(&counter);
  cookie = time ^ GetCurrentThreadId() ^ ((unsigned long long)GetCurrentProcessId() << 24) ^ (counter << 32) ^ counter ^
           (unsigned long long)&cookie;
  /* The top 16 bits are zero on x64: __security_check_cookie tests them. */
  cookie &= 0x0000ffffffffffffull;
  if (cookie == DEFAULT_COOKIE) ++cookie;
  __security_cookie = cookie;
  __security_cookie_complement = ~cookie;
}

/* Contract: programs with an entry point of their own call this first. */
void __security_init_cookie(void) { startup_initialize_cookie(); }

/* Contract: the compiler refers to it wherever floating point is used, so that the C library brings its support. */
int _fltused = 0x9875;
