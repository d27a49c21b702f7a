/* The allocation functions and the new-handler of the C++ standard, [new]; cxx/new_delete.cpp and cxx/new_handler.cpp
   define them in every image. */
#pragma once
#include <vcruntime.h>
#include <stddef.h>
#include <vcruntime_exception.h>
#ifdef __cplusplus
namespace std {
enum class align_val_t : size_t {};
struct nothrow_t { explicit nothrow_t() = default; };
extern const nothrow_t nothrow;
typedef void(__cdecl *new_handler)();
new_handler __cdecl get_new_handler() noexcept;
new_handler __cdecl set_new_handler(new_handler) noexcept;
} // namespace std
void *operator new(size_t);
void *operator new(size_t, const std::nothrow_t &) noexcept;
void *operator new[](size_t);
void *operator new[](size_t, const std::nothrow_t &) noexcept;
void operator delete(void *) noexcept;
void operator delete(void *, const std::nothrow_t &) noexcept;
void operator delete(void *, size_t) noexcept;
void operator delete[](void *) noexcept;
void operator delete[](void *, const std::nothrow_t &) noexcept;
void operator delete[](void *, size_t) noexcept;
void *operator new(size_t, std::align_val_t);
void *operator new(size_t, std::align_val_t, const std::nothrow_t &) noexcept;
void *operator new[](size_t, std::align_val_t);
void *operator new[](size_t, std::align_val_t, const std::nothrow_t &) noexcept;
void operator delete(void *, std::align_val_t) noexcept;
void operator delete(void *, std::align_val_t, const std::nothrow_t &) noexcept;
void operator delete(void *, size_t, std::align_val_t) noexcept;
void operator delete[](void *, std::align_val_t) noexcept;
void operator delete[](void *, std::align_val_t, const std::nothrow_t &) noexcept;
void operator delete[](void *, size_t, std::align_val_t) noexcept;
inline void *operator new(size_t, void *p) noexcept { return p; }
inline void *operator new[](size_t, void *p) noexcept { return p; }
inline void operator delete(void *, void *) noexcept {}
inline void operator delete[](void *, void *) noexcept {}
#endif
