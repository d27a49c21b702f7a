// A check prints `ok NAME` or `FAILED NAME`; the exit status says whether all of them held.
#pragma once
#include <stdio.h>

inline int passed, failed;

inline void check(const char *name, bool holds) {
  printf("%s %s\n", holds ? "ok" : "FAILED", name);
  fflush(stdout); // what is said before a crash counts
  ++(holds ? passed : failed);
}

inline int summary() {
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
