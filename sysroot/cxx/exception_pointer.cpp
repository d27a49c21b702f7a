// std::exception_ptr over VCRuntime's exception records. Contract: libc++ calls the functions __ExceptionPtr*, which
// Microsoft has in msvcp140.dll; ours drop that import.
//
// Every rethrow gives a copy of the object of its own: the catch block destroys what it caught, and a pointer may be
// rethrown again (Wine 10's msvcp140 rethrows the stored object itself).
#include <vcruntime_exception.h>
#include <vcruntime_typeinfo.h>

extern "C" {
struct ExceptionRecord;
__declspec(dllimport) ExceptionRecord **__current_exception();
__declspec(dllimport) void *malloc(size_t);
__declspec(dllimport) void free(void *);
void *__cdecl memcpy(void *, const void *, size_t);
__declspec(dllimport) void *__stdcall RtlPcToFileHeader(void *, void **);
__declspec(dllimport) void __stdcall RaiseException(unsigned long, unsigned long, unsigned long,
                                                    const unsigned long long *);
__declspec(dllimport) __declspec(noreturn) void terminate();
long _InterlockedIncrement(long volatile *);
long _InterlockedDecrement(long volatile *);
void *_alloca(size_t);

// EXCEPTION_RECORD (winnt.h).
struct ExceptionRecord {
  unsigned code, flags;
  ExceptionRecord *next;
  void *address;
  unsigned count;
  unsigned long long information[15];
};
}
#pragma intrinsic(_InterlockedIncrement, _InterlockedDecrement)

namespace {

// A C++ exception's record: `information` is a magic number, the object, its ThrowInfo and the image's base. What the
// compiler writes about a thrown type holds offsets from that base (ehdata.h).
constexpr unsigned CXX_EXCEPTION = 0xE06D7363;
constexpr unsigned long long CXX_MAGIC = 0x19930520;
enum { MAGIC, OBJECT, THROW_INFO, IMAGE_BASE, CXX_COUNT };
enum { IS_SIMPLE_TYPE = 1, HAS_VIRTUAL_BASE = 4, NONCONTINUABLE = 1 };

struct CatchableType {
  unsigned properties;
  int type, member_displacement, vtable_displacement, vbase_displacement;
  unsigned size;
  int copy_constructor;
};
struct CatchableTypes {
  int count, types[1];
};
struct ThrowInfo {
  unsigned attributes;
  int destructor, forward_compatibility, catchable_types;
};

// What is shared by all copies of a pointer.
struct Shared {
  long references;
  ExceptionRecord record;
  alignas(16) unsigned char object[1];
};

// The layout of libc++'s std::exception_ptr: two pointers.
struct Pointer {
  Shared *shared;
  void *unused;
};

bool is_cxx(const ExceptionRecord &record) {
  return record.code == CXX_EXCEPTION && record.count == CXX_COUNT && record.information[THROW_INFO];
}

char *image(const ExceptionRecord &record) { return reinterpret_cast<char *>(record.information[IMAGE_BASE]); }

const ThrowInfo &throw_info(const ExceptionRecord &record) {
  return *reinterpret_cast<const ThrowInfo *>(record.information[THROW_INFO]);
}

// The first catchable type is that of the object itself.
const CatchableType &thrown_type(const ExceptionRecord &record) {
  const auto *types = reinterpret_cast<const CatchableTypes *>(image(record) + throw_info(record).catchable_types);
  return *reinterpret_cast<const CatchableType *>(image(record) + types->types[0]);
}

void copy_object(void *to, const void *from, const ExceptionRecord &record) {
  const CatchableType &type = thrown_type(record);
  char *constructor = image(record) + type.copy_constructor;
  if ((type.properties & IS_SIMPLE_TYPE) || !type.copy_constructor)
    memcpy(to, from, type.size);
  else if (type.properties & HAS_VIRTUAL_BASE)
    reinterpret_cast<void (*)(void *, const void *, int)>(constructor)(to, from, 1);
  else
    reinterpret_cast<void (*)(void *, const void *)>(constructor)(to, from);
}

void destroy_object(void *object, const ExceptionRecord &record) {
  if (int destructor = throw_info(record).destructor)
    reinterpret_cast<void (*)(void *)>(image(record) + destructor)(object);
}

Shared *share(const ExceptionRecord &record) {
  const size_t size = is_cxx(record) ? thrown_type(record).size : 0;
  auto *shared = static_cast<Shared *>(malloc(sizeof(Shared) + size));
  if (!shared) terminate();
  shared->references = 1;
  shared->record = record;
  shared->record.next = nullptr;
  if (is_cxx(record)) {
    try {
      copy_object(shared->object, reinterpret_cast<void *>(record.information[OBJECT]), record);
    } catch (...) {
      terminate();
    }
    shared->record.information[OBJECT] = reinterpret_cast<unsigned long long>(shared->object);
  }
  return shared;
}

void release(Shared *shared) {
  if (!shared || _InterlockedDecrement(&shared->references)) return;
  if (is_cxx(shared->record)) destroy_object(shared->object, shared->record);
  free(shared);
}

Pointer &pointer(void *place) { return *static_cast<Pointer *>(place); }
const Pointer &pointer(const void *place) { return *static_cast<const Pointer *>(place); }

} // namespace

void __cdecl __ExceptionPtrCreate(void *place) { pointer(place) = {}; }

void __cdecl __ExceptionPtrDestroy(void *place) { release(pointer(place).shared); }

void __cdecl __ExceptionPtrCopy(void *to, const void *from) {
  pointer(to) = pointer(from);
  if (Shared *shared = pointer(to).shared) _InterlockedIncrement(&shared->references);
}

void __cdecl __ExceptionPtrAssign(void *to, const void *from) {
  Shared *previous = pointer(to).shared;
  __ExceptionPtrCopy(to, from);
  release(previous);
}

bool __cdecl __ExceptionPtrCompare(const void *one, const void *other) {
  return pointer(one).shared == pointer(other).shared;
}

bool __cdecl __ExceptionPtrToBool(const void *place) { return pointer(place).shared; }

void __cdecl __ExceptionPtrSwap(void *one, void *other) {
  Pointer previous = pointer(one);
  pointer(one) = pointer(other);
  pointer(other) = previous;
}

void __cdecl __ExceptionPtrCurrentException(void *place) {
  ExceptionRecord **current = __current_exception();
  pointer(place) = {};
  if (current && *current && (*current)->code) pointer(place).shared = share(**current);
}

void __cdecl __ExceptionPtrCopyException(void *place, const void *object, const void *info) {
  void *base = nullptr;
  RtlPcToFileHeader(const_cast<void *>(info), &base);
  ExceptionRecord record = {};
  record.code = CXX_EXCEPTION;
  record.flags = NONCONTINUABLE;
  record.count = CXX_COUNT;
  record.information[MAGIC] = CXX_MAGIC;
  record.information[OBJECT] = reinterpret_cast<unsigned long long>(object);
  record.information[THROW_INFO] = reinterpret_cast<unsigned long long>(info);
  record.information[IMAGE_BASE] = reinterpret_cast<unsigned long long>(base);
  pointer(place) = {};
  pointer(place).shared = share(record);
}

__declspec(noreturn) void __cdecl __ExceptionPtrRethrow(const void *place) {
  const Shared *shared = pointer(place).shared;
  if (!shared) throw std::bad_exception();
  ExceptionRecord record = shared->record;
  if (is_cxx(record)) {
    // The copy lives in this frame, which stays until the catch block ends.
    const size_t size = thrown_type(record).size;
    void *object = reinterpret_cast<void *>((reinterpret_cast<unsigned long long>(_alloca(size + 15)) + 15) & ~15ull);
    copy_object(object, shared->object, record);
    record.information[OBJECT] = reinterpret_cast<unsigned long long>(object);
  }
  RaiseException(record.code, record.flags & NONCONTINUABLE, record.count, record.information);
  terminate();
}
