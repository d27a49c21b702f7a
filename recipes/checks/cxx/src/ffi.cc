// tvm-ffi's C++ interface, as a program uses that was built on the archive alone: ffi MODULE, the library that module.cc is.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/json.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>

#include <exception>
#include <string>
#include <vector>

#include "places.h"

namespace ffi = tvm::ffi;

TVM_FFI_STATIC_INIT_BLOCK() { ffi::reflection::GlobalDef().def("cxx.multiply", [](int64_t a, int64_t b) { return a * b; }); }

// What an error says, thrown in whatever library: its kind and its message.
static std::string thrown(const std::function<void()>& call) {
  try {
    call();
  } catch (const ffi::Error& error) {
    return error.kind() + ": " + error.message();
  }
  return "nothing was thrown";
}

int main(int count, char** arguments) {
  const ffi::Array<ffi::String> words{"eins", "zwei"};
  check("array", words.size() == 2 && words[1] == "zwei");
  check("index error of the library",
        thrown([&] { words[7]; }).find("IndexError") == 0);
  const ffi::Map<ffi::String, int64_t> numbers{{"one", 1}, {"two", 2}};
  check("map", numbers.at("two") == 2 && numbers.count("three") == 0);
  check("own error", thrown([] { TVM_FFI_THROW(ValueError) << "mine"; }) == "ValueError: mine");

  const ffi::Function multiply = ffi::Function::GetGlobalRequired("cxx.multiply");
  check("function", multiply(6, 7).cast<int64_t>() == 42);
  check("type error of a call", thrown([&] { multiply("six", 7); }).find("TypeError") == 0);
  check("json", std::string(ffi::json::Stringify(ffi::json::Parse("{\"a\": [1, 2]}"))) == "{\"a\":[1,2]}");

  const std::string library = count > 1 ? arguments[1] : "";
  const std::string suffix = library.substr(library.find_last_of('.'));
  everywhere("module", [&](const std::string& directory) {
    const std::string file = directory + "/module" + suffix;
    std::filesystem::copy_file(system_path(library), system_path(file), std::filesystem::copy_options::overwrite_existing);
    const ffi::Module module = ffi::Module::LoadFromFile(file);
    const bool called = module->GetFunction("add_one").value()(41).cast<int>() == 42;
    return called && thrown([&] { module->GetFunction("fail").value()(3); }) == "ValueError: no value 3";
  });
  everywhere("error of a module that is not there", [&](const std::string& directory) {
    const std::string file = directory + "/none" + suffix;
    return thrown([&] { ffi::Module::LoadFromFile(file); }).find(file) != std::string::npos;
  });
  return summary();
}
