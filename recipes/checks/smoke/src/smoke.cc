// Calls a tvm-ffi library, and optionally libraries that register functions with it, the way an application does: through the C
// API of <tvm/ffi/c_api.h> alone. One source for Linux and Windows.
//
//     smoke [LIBRARY...] [--functions NAME...] [--device NAME...] [--absent NAME...] [--no-device NAME...] [--beside NAME...]
//           [--throws NAME...]
//
// LIBRARY         is loaded at run time and must load.
// --functions     global functions that must then be registered.
// --device        devices (`opencl`, `vulkan`) on which memory must be allocated, written and read back, as is always done on the CPU.
// --absent        devices (`opencl`, `vulkan`) that this machine lacks: asked whether one exists, the runtime must answer no.
// --no-device     device APIs whose hardware this machine lacks: asking for one must come back as an error, not as a crash.
// --beside        DLLs that must have been loaded from the program's own directory, not from the system's (Windows).
// --throws        global functions that, called without arguments, must come back as an error: called from here through the C API, and
//                 from `testing.apply` (of tvm_ffi_testing, which has to be among the libraries) as a C++ exception from library to library.
//
// Prints `ok NAME` or `FAILED NAME: reason` for each check, then a line of counts; exits 1 if a check failed.
#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

// A check fails by throwing; the text says what was expected.
void Expect(bool condition, const std::string& expectation) {
  if (!condition) throw std::runtime_error("expected " + expectation);
}

TVMFFIByteArray Bytes(const std::string& text) { return {text.data(), text.size()}; }

std::string Text(const TVMFFIByteArray& bytes) { return std::string(bytes.data, bytes.size); }

// The error that the last failing call of this thread left behind.
struct Error {
  std::string kind;
  std::string message;
};

Error TakeError() {
  TVMFFIObjectHandle object = nullptr;
  TVMFFIErrorMoveFromRaised(&object);
  Expect(object != nullptr, "an error object after a failing call");
  const TVMFFIErrorCell* cell = TVMFFIErrorGetCellPtr(object);
  Error error{Text(cell->kind), Text(cell->message)};
  TVMFFIObjectDecRef(object);
  return error;
}

void Succeed(int status, const std::string& call) {
  if (status == 0) return;
  const Error error = TakeError();
  throw std::runtime_error(call + " failed with " + error.kind + ": " + error.message);
}

// An owned value: gives its reference back when it goes out of scope.
class Value {
 public:
  Value() { Set(kTVMFFINone, 0); }
  explicit Value(int64_t number) { Set(kTVMFFIInt, number); }
  explicit Value(const std::string& text) {
    Set(kTVMFFINone, 0);
    const TVMFFIByteArray bytes = Bytes(text);
    Succeed(TVMFFIStringFromByteArray(&bytes, &any_), "TVMFFIStringFromByteArray");
  }
  explicit Value(TVMFFIObjectHandle object) {
    Set(static_cast<const TVMFFIObject*>(object)->type_index, 0);
    any_.v_obj = static_cast<TVMFFIObject*>(object);
  }
  static Value DataType(const char* name) {
    const std::string text = name;
    const TVMFFIByteArray bytes = Bytes(text);
    Value value;
    value.Set(kTVMFFIDataType, 0);
    Succeed(TVMFFIDataTypeFromString(&bytes, &value.any_.v_dtype), "TVMFFIDataTypeFromString");
    return value;
  }
  static Value Device(DLDevice device) {
    Value value;
    value.Set(kTVMFFIDevice, 0);
    value.any_.v_device = device;
    return value;
  }
  static Value Pointer(void* pointer) {
    Value value;
    value.Set(kTVMFFIOpaquePtr, 0);
    value.any_.v_ptr = pointer;
    return value;
  }
  Value(Value&& other) : any_(other.any_) { other.Set(kTVMFFINone, 0); }
  Value& operator=(Value&& other) {
    std::swap(any_, other.any_);
    return *this;
  }
  ~Value() {
    if (any_.type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(any_.v_obj);
  }

  int32_t type() const { return any_.type_index; }
  const TVMFFIAny& view() const { return any_; }
  TVMFFIAny* slot() { return &any_; }
  TVMFFIObjectHandle object() const {
    Expect(type() >= kTVMFFIStaticObjectBegin, "an object, not type " + std::to_string(type()));
    return any_.v_obj;
  }
  int64_t number() const {
    Expect(type() == kTVMFFIInt, "an integer, not type " + std::to_string(type()));
    return any_.v_int64;
  }
  std::string text() const {
    if (type() == kTVMFFISmallStr) return std::string(any_.v_bytes, any_.small_str_len);
    Expect(type() == kTVMFFIStr, "a string, not type " + std::to_string(type()));
    return Text(*TVMFFIBytesGetByteArrayPtr(any_.v_obj));
  }

 private:
  void Set(int32_t type, int64_t number) {
    std::memset(&any_, 0, sizeof(any_));
    any_.type_index = type;
    any_.v_int64 = number;
  }
  TVMFFIAny any_;
};

Value GlobalFunction(const std::string& name) {
  const TVMFFIByteArray bytes = Bytes(name);
  TVMFFIObjectHandle function = nullptr;
  Succeed(TVMFFIFunctionGetGlobal(&bytes, &function), "TVMFFIFunctionGetGlobal(" + name + ")");
  Expect(function != nullptr, "a global function `" + name + "`");
  return Value(function);
}

// The status that the C API returns; a caller that expects success uses `Call`.
int TryCall(const Value& function, const std::vector<const Value*>& arguments, Value* result) {
  std::vector<TVMFFIAny> views;
  for (const Value* argument : arguments) views.push_back(argument->view());
  return TVMFFIFunctionCall(function.object(), views.data(), static_cast<int32_t>(views.size()), result->slot());
}

Value Call(const std::string& name, const std::vector<const Value*>& arguments) {
  Value result;
  Succeed(TryCall(GlobalFunction(name), arguments, &result), name);
  return result;
}

std::vector<std::string> GlobalFunctionNames() {
  const Value list = Call("ffi.FunctionListGlobalNamesFunctor", {});
  const auto at = [&list](int64_t index) {
    const Value argument(index);
    Value result;
    Succeed(TryCall(list, {&argument}, &result), "the list of global functions");
    return result;
  };
  std::vector<std::string> names;
  const int64_t count = at(-1).number();
  for (int64_t index = 0; index < count; ++index) names.push_back(at(index).text());
  return names;
}

// Loads a library by name, beside the program or on the system's search path. It stays loaded: its functions stay registered.
void Load(const std::string& library) {
#ifdef _WIN32
  const HMODULE handle = LoadLibraryA(library.c_str());
  Expect(handle != nullptr, "`" + library + "` to load, but Windows answers error " + std::to_string(GetLastError()));
#else
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  const char* reason = handle ? "" : dlerror();
  Expect(handle != nullptr, "`" + library + "` to load, but: " + reason);
#endif
}

void CheckBeside(const std::string& library) {
#ifdef _WIN32
  const auto directory = [](const char* module) {
    char path[MAX_PATH] = {};
    const HMODULE handle = GetModuleHandleA(module);
    if (handle != nullptr || module == nullptr) GetModuleFileNameA(handle, path, MAX_PATH);
    const std::string text = path;
    return text.substr(0, text.find_last_of('\\') + 1);
  };
  const std::string found = directory(library.c_str());
  Expect(found == directory(nullptr), "`" + library + "` in the program's directory, not in `" + found + "`");
#else
  Expect(false, "`" + library + "`, and --beside, only on Windows");
#endif
}

void CheckVersion() {
  TVMFFIVersion version{};
  TVMFFIGetVersion(&version);
  Expect(version.major == TVM_FFI_VERSION_MAJOR && version.minor == TVM_FFI_VERSION_MINOR &&
             version.patch == TVM_FFI_VERSION_PATCH,
         "the library's version to be that of its header");
  std::printf("tvm-ffi %u.%u.%u\n", version.major, version.minor, version.patch);
}

void CheckString() {
  const std::string short_text = "tvm";
  const std::string long_text = "a string too long to stand in the value itself, \xc3\xa9\xc3\xa8";
  Expect(Value(short_text).text() == short_text, "a short string back");
  Expect(Value(long_text).text() == long_text, "a long string back");
  Expect(Value(std::string("a\0b", 3)).text().size() == 3, "a string with a zero byte back");
  const Value argument(long_text);
  Expect(Call("ffi.String", {&argument}).text() == long_text, "the string through a function");
}

void CheckArray() {
  const Value first(int64_t{7}), second(std::string("second")), third(int64_t{-1});
  const Value array = Call("ffi.Array", {&first, &second, &third});
  Expect(array.type() == kTVMFFIArray, "an array");
  Expect(Call("ffi.ArraySize", {&array}).number() == 3, "three items");
  const Value zero(int64_t{0}), one(int64_t{1});
  Expect(Call("ffi.ArrayGetItem", {&array, &zero}).number() == 7, "the first item");
  Expect(Call("ffi.ArrayGetItem", {&array, &one}).text() == "second", "the second item");
}

void CheckIndexError() {
  const Value item(int64_t{7}), index(int64_t{12345});
  const Value array = Call("ffi.Array", {&item});
  Value result;
  Expect(TryCall(GlobalFunction("ffi.ArrayGetItem"), {&array, &index}, &result) != 0, "a failing call");
  const Error error = TakeError();
  Expect(error.kind == "IndexError", "an IndexError, not " + error.kind);
  Expect(error.message.find("12345") != std::string::npos, "the index in the message `" + error.message + "`");
}

int released_callbacks = 0;

int AddAll(void* self, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  int64_t sum = *static_cast<int64_t*>(self);
  for (int32_t index = 0; index < count; ++index) {
    if (arguments[index].type_index != kTVMFFIInt) {
      TVMFFIErrorSetRaisedFromCStr("TypeError", "only integers can be added");
      return -1;
    }
    sum += arguments[index].v_int64;
  }
  std::memset(result, 0, sizeof(*result));
  result->type_index = kTVMFFIInt;
  result->v_int64 = sum;
  return 0;
}

void CheckCallback() {
  int64_t base = 100;
  TVMFFIObjectHandle handle = nullptr;
  const auto release = [](void*) { ++released_callbacks; };
  Succeed(TVMFFIFunctionCreate(&base, AddAll, release, &handle), "TVMFFIFunctionCreate");
  {
    const Value function(handle);
    const std::string name = "smoke.add_all";
    const TVMFFIByteArray bytes = Bytes(name);
    Succeed(TVMFFIFunctionSetGlobal(&bytes, function.object(), 0), "TVMFFIFunctionSetGlobal");
    const Value two(int64_t{2}), three(int64_t{3}), text(std::string("four"));
    Expect(Call(name, {&two, &three}).number() == 105, "100 + 2 + 3");
    Value result;
    Expect(TryCall(function, {&two, &text}, &result) != 0, "a failing call");
    const Error error = TakeError();
    Expect(error.kind == "TypeError" && error.message == "only integers can be added", "the callback's own error");
    const Value removed(name);
    Call("ffi.FunctionRemoveGlobal", {&removed});
    Expect(released_callbacks == 0, "the callback to live as long as it is held");
  }
  Expect(released_callbacks == 1, "the callback to be released once");
}

// Errors are kept per thread: two threads that fail at once each get their own.
void CheckThread() {
  std::vector<std::string> failures(4);
  std::vector<std::thread> threads;
  for (size_t number = 0; number < failures.size(); ++number) {
    threads.emplace_back([number, &failures] {
      try {
        const Value item(int64_t{1}), index(static_cast<int64_t>(1000 + number));
        for (int round = 0; round < 25; ++round) {
          const Value array = Call("ffi.Array", {&item});
          Value result;
          Expect(TryCall(GlobalFunction("ffi.ArrayGetItem"), {&array, &index}, &result) != 0, "a failing call");
          Expect(TakeError().message.find(std::to_string(1000 + number)) != std::string::npos, "this thread's error");
        }
      } catch (const std::exception& failure) {
        failures[number] = failure.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) Expect(failure.empty(), "no failure in a thread, but it " + failure);
}

// Memory from a device API, filled and read back.
void CheckTensor(DLDeviceType device_type) {
  const Value four(int64_t{4}), none;
  const Value shape = Call("ffi.Shape", {&four});
  const Value type = Value::DataType("float32"), device = Value::Device({device_type, 0});
  const Value tensor = Call("runtime.TVMTensorAllocWithScope", {&shape, &type, &device, &none});
  const DLTensor* view = TVMFFITensorGetDLTensorPtr(tensor.object());
  Expect(view->ndim == 1 && view->shape[0] == 4 && view->dtype.bits == 32, "a tensor of four float32");
  float written[4] = {1, -2, 0.5f, 4}, read[4] = {};
  const Value source = Value::Pointer(written), size(static_cast<int64_t>(sizeof(written)));
  const Value destination = Value::Pointer(read);
  Call("runtime.TVMTensorCopyFromBytes", {&tensor, &source, &size});
  Call("runtime.TVMTensorCopyToBytes", {&tensor, &destination, &size});
  Expect(std::memcmp(written, read, sizeof(written)) == 0, "the four numbers back");
}

DLDeviceType DeviceType(const std::string& name) {
  Expect(name == "opencl" || name == "vulkan", "`opencl` or `vulkan`");
  return name == "opencl" ? kDLOpenCL : kDLVulkan;
}

void CheckAbsent(DLDeviceType device_type) {
  const Value type(static_cast<int64_t>(device_type)), device(int64_t{0}), exists(int64_t{0});
  const Value answer = Call("runtime.GetDeviceAttr", {&type, &device, &exists});
  Expect(answer.number() == 0, "the answer 0, not " + std::to_string(answer.number()));
}

void CheckDeviceError(const std::string& name) {
  Value result;
  Expect(TryCall(GlobalFunction(name), {}, &result) != 0, "an error from a device this machine does not have");
  const Error error = TakeError();
  Expect(!error.message.empty(), "a message");
  std::fprintf(stderr, "%s: %s: %s\n", name.c_str(), error.kind.c_str(), error.message.c_str());
}

void CheckThrows(const std::string& name) {
  const Value function = GlobalFunction(name);
  Value result;
  Expect(TryCall(function, {}, &result) != 0, "an error from a call without arguments");
  const Error direct = TakeError();
  Expect(TryCall(GlobalFunction("testing.apply"), {&function}, &result) != 0, "the error through testing.apply");
  const Error applied = TakeError();
  Expect(applied.kind == direct.kind && applied.message == direct.message, "the same error both ways");
  std::printf("%s: %s: %s\n", name.c_str(), direct.kind.c_str(), direct.message.c_str());
}

struct Counts {
  int passed = 0;
  int failed = 0;

  void Check(const std::string& name, const std::function<void()>& check) {
    try {
      check();
      ++passed;
      std::printf("ok %s\n", name.c_str());
    } catch (const std::exception& failure) {
      ++failed;
      std::printf("FAILED %s: %s\n", name.c_str(), failure.what());
    }
    std::fflush(stdout);
  }
};

}  // namespace

int main(int argument_count, char** arguments) {
  std::vector<std::string> libraries, functions, present, missing, absent, beside, throwing;
  std::vector<std::string>* list = &libraries;
  for (int index = 1; index < argument_count; ++index) {
    const std::string argument = arguments[index];
    if (argument == "--functions") {
      list = &functions;
    } else if (argument == "--device") {
      list = &present;
    } else if (argument == "--absent") {
      list = &missing;
    } else if (argument == "--no-device") {
      list = &absent;
    } else if (argument == "--beside") {
      list = &beside;
    } else if (argument == "--throws") {
      list = &throwing;
    } else if (argument.compare(0, 2, "--") == 0) {
      std::fprintf(stderr, "unknown option `%s`\n", arguments[index]);
      return 2;
    } else {
      list->push_back(argument);
    }
  }

  Counts counts;
  counts.Check("version", CheckVersion);
  counts.Check("string", CheckString);
  counts.Check("array", CheckArray);
  counts.Check("index error", CheckIndexError);
  counts.Check("callback", CheckCallback);
  counts.Check("thread", CheckThread);
  for (const std::string& library : libraries) counts.Check("load " + library, [&] { Load(library); });

  for (const std::string& name : beside) counts.Check("beside " + name, [&] { CheckBeside(name); });

  std::set<std::string> registered;
  counts.Check("list of global functions", [&] {
    const std::vector<std::string> names = GlobalFunctionNames();
    registered.insert(names.begin(), names.end());
    Expect(registered.size() == names.size(), "every name once");
    std::printf("%zu global functions\n", names.size());
  });
  for (const std::string& name : functions) {
    counts.Check("function " + name, [&] { Expect(registered.count(name) == 1, "the function to be registered"); });
  }
  if (registered.count("runtime.TVMTensorAllocWithScope") == 1) counts.Check("tensor", [] { CheckTensor(kDLCPU); });
  for (const std::string& name : present) {
    counts.Check("device " + name, [&] { CheckTensor(DeviceType(name)); });
  }
  for (const std::string& name : missing) {
    counts.Check("absent " + name, [&] { CheckAbsent(DeviceType(name)); });
  }
  for (const std::string& name : absent) counts.Check("no device " + name, [&] { CheckDeviceError(name); });
  for (const std::string& name : throwing) counts.Check("throws " + name, [&] { CheckThrows(name); });

  std::printf("%d passed, %d failed\n", counts.passed, counts.failed);
  return counts.failed == 0 ? 0 : 1;
}
