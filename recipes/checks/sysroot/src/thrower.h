// What crosses the border between the program and a DLL: exceptions, virtual calls, and a type to cast to.
#pragma once
#include <stdexcept>

#ifdef thrower_EXPORTS
#define THROWER __declspec(dllexport)
#else
#define THROWER __declspec(dllimport)
#endif

struct Base {
  virtual ~Base() = default;
  virtual int value() const = 0;
};
struct Derived : Base {
  int value() const override { return 7; }
};
struct Other : Base {
  int value() const override { return 8; }
};

struct DerivedError : std::runtime_error {
  int code;
  DerivedError(const char *message, int code) : std::runtime_error(message), code(code) {}
};

// Not `extern "C"`: /EHsc takes such functions for ones that never throw.
THROWER void throw_derived_error(int code);
THROWER int catch_from(void (*callback)());
THROWER Base *make_derived();
