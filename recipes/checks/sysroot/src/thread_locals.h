#pragma once
#include <atomic>

extern std::atomic<int> constructed, destroyed;

struct Local {
  int touched = 0;
  Local() { ++constructed; }
  ~Local() { ++destroyed; }
  void touch();
};
extern thread_local Local local;
