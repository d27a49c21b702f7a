// TVM's C++ interface for running models, as a program uses that was built on the archive: runtime [LIBRARY...]. Each LIBRARY is loaded beside
// it, as what else uses tvm-ffi in the process.
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <tvm/runtime/device_api.h>
#include <tvm/runtime/memory/memory_manager.h>
#include <tvm/runtime/module.h>
#include <tvm/runtime/tensor.h>
#include <tvm/runtime/vm/executable.h>
#include <tvm/runtime/vm/vm.h>

#include <string>
#include <vector>

#include "places.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace ffi = tvm::ffi;
using tvm::Device;
using tvm::runtime::DeviceAPI;
using tvm::runtime::Tensor;
namespace vm = tvm::runtime::vm;
namespace memory = tvm::runtime::memory;

TVM_FFI_STATIC_INIT_BLOCK() {
  // What the compiled function below calls: adds two tensors of four numbers.
  ffi::reflection::GlobalDef().def("cxx.add", [](Tensor a, Tensor b) {
    Tensor sum = Tensor::Empty(a.Shape(), a->dtype, a->device);
    for (int i = 0; i < 4; ++i) {
      static_cast<float*>(sum->data)[i] = static_cast<float*>(a->data)[i] + static_cast<float*>(b->data)[i];
    }
    return sum;
  });
}

static const Device cpu{kDLCPU, 0};
static const DLDataType float32{kDLFloat, 32, 1};

static Tensor tensor(const std::vector<float>& values) {
  Tensor result = Tensor::Empty({static_cast<int64_t>(values.size())}, float32, cpu);
  result.CopyFromBytes(values.data(), values.size() * sizeof(float));
  return result;
}

static std::vector<float> values(const Tensor& tensor) {
  std::vector<float> result(static_cast<size_t>(tensor.Shape().Product()));
  tensor.CopyToBytes(result.data(), result.size() * sizeof(float));
  return result;
}

// A model of one function, as TVM's compiler writes it: main(a, b) = cxx.add(a, b).
static ffi::Module executable() {
  auto model = ffi::make_object<vm::VMExecutable>();
  vm::VMFuncInfo add, main;
  add.kind = vm::VMFuncInfo::FuncKind::kPackedFunc;
  add.name = "cxx.add";
  main.kind = vm::VMFuncInfo::FuncKind::kVMFunc;
  main.name = "main";
  main.end_instr = 2;
  main.num_args = 2;
  main.register_file_size = 3;
  main.param_names = {"a", "b"};
  model->func_table = {add, main};
  model->func_map = {{"cxx.add", 0}, {"main", 1}};
  using Arg = vm::Instruction::Arg;
  model->instr_offset = {0, 6};
  model->instr_data = {static_cast<vm::ExecWord>(vm::Opcode::Call), 2, 0, 2, Arg::Register(0).data(), Arg::Register(1).data(),
                       static_cast<vm::ExecWord>(vm::Opcode::Ret), 2};
  return ffi::Module(model);
}

static std::vector<float> run(const ffi::Module& model) {
  const ffi::Module machine = model->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
  machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, static_cast<int>(memory::kPooled));
  return values(machine->GetFunction("main").value()(tensor({1, 2, 3, 4}), tensor({10, 20, 30, 40})).cast<Tensor>());
}

static void check_devices() {
  const ffi::Function attribute = ffi::Function::GetGlobalRequired("runtime.GetDeviceAttr");
  const auto exists = [&](int type) { return attribute(type, 0, static_cast<int>(tvm::runtime::kExist)).cast<int>(); };
  check("the cpu exists", exists(kDLCPU) == 1);
  // Whatever the machine has, asking is answered: by types that this runtime has, has not, and that nobody knows.
  for (int type = 1; type < 128; ++type) {
    const DeviceAPI* api = DeviceAPI::Get({static_cast<DLDeviceType>(type), 0}, /*allow_missing=*/true);
    if (exists(type) == 1 && api == nullptr) check("a device that exists has an API: " + std::to_string(type), false);
  }
  check("every type of device can be asked for", true);
  bool threw = false;
  try {
    Tensor::Empty({1}, float32, {kDLVulkan, 99});
  } catch (const ffi::Error&) {
    threw = true;
  }
  check("using a device that is not there is an error", threw);
}

static void check_memory() {
  for (const auto type : {memory::kNaive, memory::kPooled}) {
    memory::Allocator* allocator = memory::MemoryManager::GetOrCreateAllocator(cpu, type);
    const size_t before = allocator->UsedMemory();
    {
      Tensor block = allocator->Empty({1024}, float32, cpu);
      block.CopyFromBytes(std::vector<float>(1024, 2.5f).data(), 4096);
      check("memory of allocator " + std::to_string(type), values(block)[1023] == 2.5f && allocator->UsedMemory() >= before + 4096);
    }
    allocator->Clear();
  }
}

int main(int count, char** arguments) {
  try {
    for (int i = 1; i < count; ++i) {
#ifdef _WIN32
      const bool loaded = LoadLibraryA(arguments[i]) != nullptr;
#else
      const bool loaded = dlopen(arguments[i], RTLD_NOW | RTLD_LOCAL) != nullptr;
#endif
      check(std::string("load ") + arguments[i], loaded);
    }
    const Tensor numbers = tensor({1, 2, 3, 4});
    check("tensor", numbers->ndim == 1 && values(numbers) == std::vector<float>({1, 2, 3, 4}));
    check("view", values(numbers.CreateView({2, 2}, float32)) == values(numbers));
    check("copy", values(numbers.CopyTo(cpu)) == values(numbers));
    check("module is enabled", tvm::runtime::RuntimeEnabled("cpu"));
    check_devices();
    check_memory();

    const std::vector<float> sum{11, 22, 33, 44};
    check("virtual machine", run(executable()) == sum);
    everywhere("executable", [&](const std::string& directory) {
      const std::string file = directory + "/model.ro";
      executable()->WriteToFile(file, "ro");
      return std::filesystem::exists(system_path(file)) && run(vm::VMExecutable::LoadFromFile(file)) == sum;
    });
    const ffi::Function save = ffi::Function::GetGlobalRequired("runtime.SaveParamsToFile");
    const ffi::Function load = ffi::Function::GetGlobalRequired("runtime.LoadParamsFromFile");
    everywhere("parameters", [&](const std::string& directory) {
      const std::string file = directory + "/params.bin";
      save(ffi::Map<ffi::String, Tensor>{{"weight", numbers}}, file);
      const auto parameters = load(file).cast<ffi::Map<ffi::String, Tensor>>();
      return std::filesystem::exists(system_path(file)) && values(parameters.at("weight")) == values(numbers);
    });
  } catch (const std::exception& error) {
    check(std::string("no error: ") + error.what(), false);
  }
  return summary();
}
