// Asks the compiler who it is, compiles two functions for several targets, and runs them: compile HOST_TRIPLE
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/rvalue_ref.h>
#include <tvm/ir/module.h>
#include <tvm/ir/transform.h>
#include <tvm/target/target.h>
#include <tvm/te/operation.h>
#include <tvm/tirx/function.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "example.h"

using namespace tvm;

namespace {

ffi::Function global(const std::string& name) { return ffi::Function::GetGlobalRequired(name); }

template <typename... Arguments>
transform::Pass pass(const std::string& name, Arguments... arguments) {
  return global(name)(arguments...).template cast<transform::Pass>();
}

// What `tvm.tirx.build` of TVM's Python does for a function that runs on the processor and is not scheduled.
IRModule lower(const IRModule& module, const Target& target) {
  ffi::Array<transform::Pass> passes{
      pass("tirx.transform.BindTarget", Target(target, target)),
      pass("s_tir.transform.LowerInitBlock"),
      pass("s_tir.transform.PlanAndUpdateBufferAllocationLocation"),
      pass("s_tir.transform.ConvertBlocksToOpaque"),
      pass("s_tir.transform.CompactBufferAllocation", true),
      pass("tirx.transform.Simplify"),
      pass("s_tir.transform.LowerOpaqueBlock"),
      pass("tirx.transform.FlattenBuffer"),
      pass("tirx.transform.NarrowDataType", 32),
      pass("tirx.transform.VectorizeLoop", true),
      pass("tirx.transform.StorageRewrite"),
      pass("tirx.transform.UnrollLoop"),
      pass("tirx.transform.Simplify"),
      pass("tirx.transform.RemoveNoOp"),
      pass("tirx.transform.VerifyMemory"),
      pass("tirx.transform.AnnotateEntryFunc"),
      pass("tirx.transform.AnnotateDeviceRegions"),
      pass("tirx.transform.SplitHostDevice"),
      pass("tirx.transform.MakePackedAPI"),
      pass("tirx.transform.LowerDeviceKernelLaunch"),
      pass("tirx.transform.LowerTVMBuiltin"),
      pass("tirx.transform.LowerCustomDatatypes"),
      pass("tirx.transform.LowerIntrin"),
  };
  auto sequence = global("transform.Sequential")(passes, 0, "lower", ffi::Array<ffi::String>(), false).cast<transform::Pass>();
  return global("transform.RunPass")(sequence, ffi::RValueRef<IRModule>(IRModule(module))).cast<IRModule>();
}

BaseFunc function(const std::string& name, const ffi::Array<te::Tensor>& arguments) {
  auto result = global("te.CreatePrimFunc")(arguments, nullptr).cast<BaseFunc>();
  return global("ir.BaseFuncWithAttr")(ffi::RValueRef<BaseFunc>(std::move(result)), "global_symbol", name).cast<BaseFunc>();
}

IRModule examples() {
  const ffi::Array<PrimExpr> shape{IntImm(DataType::Int(64), kSize), IntImm(DataType::Int(64), kSize)};
  te::Tensor a = te::placeholder(shape, DataType::Float(32), "A");
  te::Tensor b = te::placeholder(shape, DataType::Float(32), "B");
  te::Tensor sum = te::compute(
      shape, [&](tirx::Var i, tirx::Var j) { return a(i, j) + b(i, j); }, "sum");
  tirx::IterVar k = te::reduce_axis(Range(IntImm(DataType::Int(64), 0), IntImm(DataType::Int(64), kSize)), "k");
  te::Tensor product = te::compute(
      shape, [&](tirx::Var i, tirx::Var j) { return tvm::sum(a(i, k) * b(k, j), {k}); }, "product");
  ffi::Map<GlobalVar, BaseFunc> functions;
  functions.Set(GlobalVar("add"), function("add", {a, b, sum}));
  functions.Set(GlobalVar("matmul"), function("matmul", {a, b, product}));
  return global("ir.IRModule")(functions, nullptr, ffi::Map<ffi::String, ffi::Array<GlobalInfo>>()).cast<IRModule>();
}

ffi::Module compile(const std::string& triple) {
  Target target(ffi::String("{\"kind\": \"llvm\", \"mtriple\": \"" + triple + "\"}"));
  return global("target.build.llvm")(lower(examples(), target), target).cast<ffi::Module>();
}

std::string contents(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

int number(const std::string& bytes, size_t offset) {
  if (bytes.size() < offset + 2) return -1;
  return static_cast<unsigned char>(bytes[offset]) | static_cast<unsigned char>(bytes[offset + 1]) << 8;
}

// ELF specification: e_type 1 is a relocatable file; e_machine 62 is x86-64, 183 is AArch64.
bool is_elf(const std::string& bytes, int machine) {
  return bytes.rfind("\177ELF\2\1", 0) == 0 && number(bytes, 16) == 1 && number(bytes, 18) == machine;
}

// PE/COFF specification: an object begins with its machine, and then no optional header.
bool is_coff(const std::string& bytes, int machine) { return number(bytes, 0) == machine && number(bytes, 16) == 0; }

std::string object(const std::string& triple) {
  const std::string file = triple + ".o";
  compile(triple)->WriteToFile(file, "o");
  return contents(file);
}

void run(const std::string& host) {
  check("GetDefaultTargetTriple", global("tvm.codegen.llvm.GetDefaultTargetTriple")().cast<std::string>() == host);
  check("LLVM 18", global("target.llvm_version_major")().cast<int>() == 18);
  const auto targets = global("target.llvm_get_targets")().cast<ffi::Array<ffi::String>>();
  for (const char* name : {"x86_64", "aarch64"})
    check(std::string("target ") + name, std::find(targets.begin(), targets.end(), ffi::String(name)) != targets.end());

  check("object for Linux", is_elf(object("x86_64-unknown-linux-gnu"), 62));
  check("object for Windows", is_coff(object("x86_64-pc-windows-msvc"), 0x8664));
  check("object for Android", is_elf(object("aarch64-linux-android"), 183));
  check("the same object twice", object("aarch64-linux-android") == object("aarch64-linux-android"));

  bool refused = false;
  try {
    compile("pdp11-unknown-none");
  } catch (const ffi::Error&) {
    refused = true;
  }
  check("an unknown target is an error", refused);

  ffi::Module module = compile(host);
  run_examples("compiled just in time", module->GetFunction("add").value(), module->GetFunction("matmul").value());
}

}  // namespace

int main(int count, char** arguments) {
  try {
    run(count > 1 ? arguments[1] : "");
  } catch (const std::exception& error) {
    check(std::string("no error: ") + error.what(), false);
  }
  return summary();
}
