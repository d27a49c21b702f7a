// Loads DLLs as Python's ctypes does, each with its directory searched, and asks for a function: load_in_order FUNCTION DLL...
#include <windows.h>

#include <filesystem>

#include "check.h"

// tvm-ffi's c_api.h; the program links to no tvm_ffi, as Python does not.
struct ByteArray {
  const char* data;
  size_t size;
};
using GetGlobal = int (*)(const ByteArray* name, void** function);

int main(int count, char** arguments) {
  GetGlobal get_global = nullptr;
  for (int i = 2; i < count; ++i) {
    const std::filesystem::path file = std::filesystem::absolute(arguments[i]);
    AddDllDirectory(file.parent_path().c_str());
    const HMODULE library =
        LoadLibraryExW(file.c_str(), nullptr, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS | LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR);
    check(std::string("load ") + arguments[i], library != nullptr);
    if (!library) return summary();
    if (i == 2) get_global = reinterpret_cast<GetGlobal>(GetProcAddress(library, "TVMFFIFunctionGetGlobal"));
  }
  const std::string name = count > 1 ? arguments[1] : "";
  const ByteArray bytes{name.data(), name.size()};
  void* function = nullptr;
  check(name, get_global && get_global(&bytes, &function) == 0 && function);
  return summary();
}
