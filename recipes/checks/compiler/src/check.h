// A check prints `ok NAME` or `FAILED NAME`; the exit status says whether all of them held.
#pragma once
#include <cstdio>
#include <string>

inline int passed, failed;

inline void check(const std::string& name, bool holds) {
  std::printf("%s %s\n", holds ? "ok" : "FAILED", name.c_str());
  std::fflush(stdout);  // what is said before a crash counts
  ++(holds ? passed : failed);
}

inline int summary() {
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
