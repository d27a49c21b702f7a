/* type_info and the exceptions of RTTI (MSVC x64 ABI). The compiler emits objects of this layout, with the virtual table
   of cxx/type_info.cpp. */
#pragma once
#include <vcruntime_exception.h>
#ifdef __cplusplus
/* The name to print, once somebody asked for it, and the decorated one, which follows in place. */
struct __std_type_info_data { const char *_UndecoratedName; const char _DecoratedName[1]; };
struct alignas(16) __type_info_node { void *_Head, *_Pad; };          /* an SLIST_HEADER */
extern "C" {
/* vcruntime140.dll: types are equal when their decorated names are, so that they match across modules. The printed name is
   made on demand and kept in the module's list. */
__declspec(dllimport) int __cdecl __std_type_info_compare(const __std_type_info_data *, const __std_type_info_data *);
__declspec(dllimport) size_t __cdecl __std_type_info_hash(const __std_type_info_data *);
__declspec(dllimport) const char *__cdecl __std_type_info_name(__std_type_info_data *, __type_info_node *);
}
extern __type_info_node __type_info_root_node;
class type_info {
  mutable __std_type_info_data _Data;
public:
  type_info(const type_info &) = delete;
  type_info &operator=(const type_info &) = delete;
  virtual ~type_info() noexcept;
  size_t hash_code() const noexcept { return __std_type_info_hash(&_Data); }
  bool operator==(const type_info &o) const noexcept { return __std_type_info_compare(&_Data, &o._Data) == 0; }
  bool operator!=(const type_info &o) const noexcept { return !(*this == o); }
  bool before(const type_info &o) const noexcept { return __std_type_info_compare(&_Data, &o._Data) < 0; }
  const char *name() const noexcept { return __std_type_info_name(&_Data, &__type_info_root_node); }
  const char *raw_name() const noexcept { return _Data._DecoratedName; }
};
namespace std {
using ::type_info;
/* Without exceptions libc++ defines these classes itself. */
#if _HAS_EXCEPTIONS
class bad_cast : public exception {
public:
  bad_cast() noexcept : exception("bad cast", 1) {}
  static bad_cast __construct_from_string_literal(const char *const m) noexcept { return bad_cast(m, 1); }
private:
  bad_cast(const char *const m, int) noexcept : exception(m, 1) {}
};
class bad_typeid : public exception {
public:
  bad_typeid() noexcept : exception("bad typeid", 1) {}
private:
  friend class __non_rtti_object;
  bad_typeid(const char *const m, int) noexcept : exception(m, 1) {}
};
class __non_rtti_object : public bad_typeid {};
#endif
} // namespace std
#endif
