#include "thrower.h"

void throw_derived_error(int code) { throw DerivedError("thrown in the DLL", code); }

int catch_from(void (*callback)()) {
  try {
    callback();
  } catch (const DerivedError &error) {
    return error.code;
  } catch (...) {
    return -1;
  }
  return 0;
}

Base *make_derived() { return new Derived; }
