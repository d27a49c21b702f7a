/* The base classes of exceptions (MSVC x64 ABI). Layout, mangled names and order of virtual functions are a contract with
   every other module of a process: an exception that one throws is caught by another. */
#pragma once
#include <vcruntime.h>
#include <stddef.h>
#ifdef __cplusplus
/* The text of an exception, and whether it belongs to it. */
struct __std_exception_data { const char *_What; bool _DoFree; };
extern "C" {
/* vcruntime140.dll: a copy has a text of its own where the original had; the other one frees that. */
__declspec(dllimport) void __cdecl __std_exception_copy(const __std_exception_data *, __std_exception_data *);
__declspec(dllimport) void __cdecl __std_exception_destroy(__std_exception_data *);
}
/* Without exceptions libc++ defines these classes itself. */
#if _HAS_EXCEPTIONS
namespace std {
class exception {
  __std_exception_data _Data;
public:
  exception() noexcept : _Data() {}
  explicit exception(const char *const m) noexcept : _Data() { __std_exception_data t = {m, true}; __std_exception_copy(&t, &_Data); }
  /* The text is a literal: it is not copied. */
  exception(const char *const m, int) noexcept : _Data() { _Data._What = m; }
  exception(const exception &o) noexcept : _Data() { __std_exception_copy(&o._Data, &_Data); }
  exception &operator=(const exception &o) noexcept {
    if (this != &o) { __std_exception_destroy(&_Data); __std_exception_copy(&o._Data, &_Data); }
    return *this;
  }
  virtual ~exception() noexcept { __std_exception_destroy(&_Data); }
  virtual const char *what() const { return _Data._What ? _Data._What : "Unknown exception"; }
};
class bad_exception : public exception {
public:
  bad_exception() noexcept : exception("bad exception", 1) {}
};
class bad_array_new_length;
class bad_alloc : public exception {
public:
  bad_alloc() noexcept : exception("bad allocation", 1) {}
private:
  friend class bad_array_new_length;
  bad_alloc(const char *const m) noexcept : exception(m, 1) {}
};
class bad_array_new_length : public bad_alloc {
public:
  bad_array_new_length() noexcept : bad_alloc("bad array new length") {}
};
} // namespace std
#endif
#endif
