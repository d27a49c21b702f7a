// A library as a compiler of models makes it: functions that are called through tvm-ffi.
#include <tvm/ffi/error.h>
#include <tvm/ffi/function.h>

static int add_one(int value) { return value + 1; }
static void fail(int value) { TVM_FFI_THROW(ValueError) << "no value " << value; }

TVM_FFI_DLL_EXPORT_TYPED_FUNC(add_one, add_one);
TVM_FFI_DLL_EXPORT_TYPED_FUNC(fail, fail);
