// thread_local objects of another translation unit than the one that uses them.
#include "thread_locals.h"

std::atomic<int> constructed, destroyed;
thread_local Local local;

void Local::touch() { ++touched; }
