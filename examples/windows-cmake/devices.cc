// Which devices does this machine have? Asked through TVM's C API, which takes every compiler and every C++ standard library:
// Microsoft's with Microsoft's headers too.
#include <tvm/ffi/c_api.h>

#include <cstdio>
#include <cstring>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

// Prints the error that the last call left behind.
static int fail(const char* what) {
  TVMFFIObjectHandle error = nullptr;
  TVMFFIErrorMoveFromRaised(&error);
  if (error == nullptr) {
    std::fprintf(stderr, "%s failed\n", what);
  } else {
    const TVMFFIErrorCell* cell = TVMFFIErrorGetCellPtr(error);
    std::fprintf(stderr, "%s failed: %.*s\n", what, static_cast<int>(cell->message.size), cell->message.data);
    TVMFFIObjectDecRef(error);
  }
  return 1;
}

static TVMFFIAny number(int64_t value) {
  TVMFFIAny any;
  std::memset(&any, 0, sizeof(any));
  any.type_index = kTVMFFIInt;
  any.v_int64 = value;
  return any;
}

// The runtime registers its functions when it is loaded. It stands beside this program.
static bool load_runtime() {
#ifdef _WIN32
  return LoadLibraryW(L"tvm_runtime.dll") != nullptr;
#else
  return dlopen("./libtvm_runtime.so", RTLD_NOW | RTLD_GLOBAL) != nullptr;
#endif
}

int main() {
  if (!load_runtime()) {
    std::fprintf(stderr, "tvm_runtime can't be loaded from beside this program\n");
    return 1;
  }
  const char* name = "runtime.GetDeviceAttr";
  const TVMFFIByteArray bytes = {name, std::strlen(name)};
  TVMFFIObjectHandle attribute = nullptr;
  if (TVMFFIFunctionGetGlobal(&bytes, &attribute) != 0 || attribute == nullptr) return fail(name);

  const struct {
    const char* name;
    int64_t type;
  } devices[] = {{"cpu", kDLCPU}, {"opencl", kDLOpenCL}, {"vulkan", kDLVulkan}};
  for (const auto& device : devices) {
    // Type, index, and which attribute: 0 asks whether it exists.
    TVMFFIAny arguments[] = {number(device.type), number(0), number(0)};
    TVMFFIAny answer = number(0);
    if (TVMFFIFunctionCall(attribute, arguments, 3, &answer) != 0) return fail(name);
    std::printf("%s: %s\n", device.name, answer.v_int64 == 1 ? "yes" : "no");
  }
  TVMFFIObjectDecRef(attribute);
  return 0;
}
