// Runs what was compiled and linked, with the runtime alone: load LIBRARY
#include <tvm/ffi/extra/module.h>

#include "example.h"

int main(int count, char** arguments) {
  try {
    check("no compiler", !tvm::ffi::Function::GetGlobal("target.build.llvm").has_value());
    tvm::ffi::Module module = tvm::ffi::Module::LoadFromFile(count > 1 ? arguments[1] : "");
    run_examples("loaded", module->GetFunction("add").value(), module->GetFunction("matmul").value());
  } catch (const std::exception& error) {
    check(std::string("no error: ") + error.what(), false);
  }
  return summary();
}
