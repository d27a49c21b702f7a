// Runs a model library on a converted model: feeds a prompt, generates tokens, each the likeliest, and prints JSON as
// `cargo xtask model try --json` does: {"tokens": [...], "logits": [...]}, the logits being those after the prompt.
//
//     run_model MODEL LIBRARY RUNTIME DEVICE TOKENS COUNT
//
// MODEL    the directory of a converted model.
// LIBRARY  a shared library of the objects that compile.py writes, of either kind.
// RUNTIME  tvm_runtime.
// DEVICE   cpu or opencl.
// TOKENS   the prompt's ids, with commas between.
// COUNT    how many tokens are generated.
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/shape.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/string.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

using tvm::ffi::Any;
using tvm::ffi::Array;
using tvm::ffi::Function;
using tvm::ffi::Module;
using tvm::ffi::Shape;
using tvm::ffi::String;
using tvm::ffi::Tensor;

// Loads a library for good: what it registers stays.
void Load(const char* path) {
#ifdef _WIN32
  if (LoadLibraryA(path)) return;
  throw std::runtime_error(std::string("cannot load ") + path + ": error " + std::to_string(GetLastError()));
#else
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL)) return;
  throw std::runtime_error(dlerror());
#endif
}

Function Global(const char* name) { return Function::GetGlobalRequired(name); }

std::vector<int> Numbers(const char* text) {
  std::vector<int> numbers;
  for (char* end; *text; text = *end ? end + 1 : end) {
    numbers.push_back(static_cast<int>(std::strtol(text, &end, 10)));
    if (end == text) throw std::runtime_error("the tokens are not numbers with commas between");
  }
  return numbers;
}

// Memory of the host that starts as zeros.
struct Zeros {
  void AllocData(DLTensor* tensor) {
    size_t size = tensor->dtype.bits / 8;
    for (int i = 0; i < tensor->ndim; ++i) size *= tensor->shape[i];
    tensor->data = std::calloc(size + 64, 1);
    if (!tensor->data) throw std::bad_alloc();
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

// What the library's `_metadata` says, which compile.py wrote: of its JSON as much as is needed.
class Metadata {
 public:
  explicit Metadata(std::string text) : text_(std::move(text)) {}

  bool Is(const char* key, const char* value) const {
    return text_.find(std::string("\"") + key + "\": \"" + value + "\"") != std::string::npos;
  }

  std::vector<int64_t> Sizes(const char* key) const {
    std::string start = std::string("\"") + key + "\": [";
    size_t at = text_.find(start);
    if (at == std::string::npos) throw std::runtime_error(std::string("the library's metadata has no `") + key + "`");
    std::vector<int64_t> sizes;
    const char* text = text_.c_str() + at + start.size();
    for (char* end; *text != ']'; text = *end == ',' ? end + 1 : end) sizes.push_back(std::strtoll(text, &end, 10));
    return sizes;
  }

  Array<String> Parameters() const {
    const std::string start = "{\"name\": \"";
    Array<String> names;
    for (size_t at = text_.find(start); at != std::string::npos; at = text_.find(start, at)) {
      at += start.size();
      names.push_back(String(text_.substr(at, text_.find('"', at) - at)));
    }
    return names;
  }

 private:
  std::string text_;
};

class Model {
 public:
  Model(const char* directory, int device) : device_(device) {
    Module library = Global("ffi.SystemLib")(String("")).cast<Module>();
    vm_ = library->GetFunction("vm_load_executable").value()().cast<Module>();
    // Memory of the device and of the host comes from pools.
    vm_.value()->GetFunction("vm_initialization").value()(device, 0, 2, static_cast<int>(kDLCPU), 0, 2);
    Metadata metadata(Get("_metadata")().cast<String>());
    Global("vm.builtin.tensor_cache.load")(String(directory), device, 0);
    parameters_ = Global("vm.builtin.param_array_from_cache_by_name")(metadata.Parameters());
    is_plain_ = metadata.Is("kind", "plain");
    if (is_plain_) {
      std::vector<int64_t> cache = metadata.Sizes("cache");
      DLDataType type{kDLFloat, static_cast<uint8_t>(metadata.Is("dtype", "float16") ? 16 : 32), 1};
      auto zeros = [&] { return OnDevice(Tensor::FromNDAlloc(Zeros(), Shape(cache), type, kHost)); };
      keys_ = zeros();
      values_ = zeros();
      room_ = cache[1];
    } else {
      cache_ = Get("create_tir_paged_kv_cache")(Shape({1}), Shape({256}), Shape({64}), Shape({16}), Shape({0}));
      Global("vm.builtin.kv_state_add_sequence")(cache_, 0);
      room_ = 64;  // What one prefill takes.
    }
  }

  // The logits after the last of some tokens.
  std::vector<float> Feed(const std::vector<int>& tokens) {
    if (static_cast<int64_t>(length_ + tokens.size()) > room_) throw std::runtime_error("too many tokens for the library's context");
    Any logits;
    if (is_plain_) {
      for (int token : tokens) logits = Step(token);
    } else {
      logits = Paged(tokens);
    }
    if (device_ != kDLCPU) logits = Global("vm.builtin.to_device")(logits, static_cast<int>(kDLCPU), 0);
    Tensor tensor = logits.cast<Tensor>();
    const float* values = static_cast<const float*>(tensor.data_ptr());
    return std::vector<float>(values, values + tensor.shape()[tensor.ndim() - 1]);
  }

 private:
  static constexpr DLDevice kHost{kDLCPU, 0};

  Function Get(const char* name) {
    auto function = vm_.value()->GetFunction(name, true);
    if (!function) throw std::runtime_error(std::string("the library has no function `") + name + "`");
    return function.value();
  }

  Any OnDevice(Tensor tensor) {
    return device_ == kDLCPU ? Any(tensor) : Global("vm.builtin.to_device")(tensor, device_, 0);
  }

  Any Integers(const std::vector<int>& numbers) {
    Shape shape({static_cast<int64_t>(numbers.size())});
    Tensor tensor = Tensor::FromNDAlloc(Zeros(), shape, DLDataType{kDLInt, 32, 1}, kHost);
    std::memcpy(tensor.data_ptr(), numbers.data(), numbers.size() * sizeof(int));
    return OnDevice(tensor);
  }

  Any Step(int token) {
    Any arguments[] = {Integers({token}), Integers({length_++})};
    auto results = Get("step")(arguments[0], arguments[1], keys_, values_, parameters_).cast<Array<Any>>();
    keys_ = results[1];
    values_ = results[2];
    return results[0];
  }

  Any Paged(const std::vector<int>& tokens) {
    int64_t count = static_cast<int64_t>(tokens.size());
    Any embedded = Get("embed")(Integers(tokens), parameters_);
    Tensor shaped = embedded.cast<Tensor>();
    embedded = Global("vm.builtin.reshape")(shaped, Shape({1, count, shaped.shape()[shaped.ndim() - 1]}));
    Global("vm.builtin.kv_state_begin_forward")(cache_, Shape({0}), Shape({count}));
    const char* function = length_ == 0 ? "prefill" : "decode";
    auto results = Get(function)(embedded, cache_, parameters_).cast<Array<Any>>();
    Global("vm.builtin.kv_state_end_forward")(cache_);
    length_ += static_cast<int>(count);
    return results[0];
  }

  int device_;
  tvm::ffi::Optional<Module> vm_;
  Any parameters_, keys_, values_, cache_;
  bool is_plain_ = false;
  int64_t room_ = 0;
  int length_ = 0;
};

int Likeliest(const std::vector<float>& logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<int>(best);
}

void Run(char** arguments) {
  const char* device = arguments[4];
  bool is_opencl = std::strcmp(device, "opencl") == 0;
  if (!is_opencl && std::strcmp(device, "cpu") != 0) throw std::runtime_error(std::string("unknown device ") + device);
  Load(arguments[3]);
  Load(arguments[2]);
  std::vector<int> prompt = Numbers(arguments[5]);
  Model model(arguments[1], is_opencl ? kDLOpenCL : kDLCPU);
  std::vector<float> first = model.Feed(prompt);
  std::vector<int> tokens = {Likeliest(first)};
  for (int count = std::atoi(arguments[6]); static_cast<int>(tokens.size()) < count;) {
    tokens.push_back(Likeliest(model.Feed({tokens.back()})));
  }
  std::printf("{\"tokens\": [");
  for (size_t i = 0; i < tokens.size(); ++i) std::printf("%s%d", i ? ", " : "", tokens[i]);
  std::printf("], \"logits\": [");
  for (size_t i = 0; i < first.size(); ++i) std::printf("%s%.9g", i ? ", " : "", first[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 7) {
    std::fprintf(stderr, "usage: run_model MODEL LIBRARY RUNTIME DEVICE TOKENS COUNT\n");
    return 2;
  }
  int status = 0;
  try {
    Run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    status = 1;
  }
  std::fflush(stderr);
  // A library's destructors have nothing to do for us, and those of OpenCL drivers are not always sound.
  std::_Exit(status);
}
