// The two functions that are compiled and run, and the inputs they are run on.
#pragma once
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "check.h"

constexpr int64_t kSize = 16;

struct MallocAllocator {
  void AllocData(DLTensor* tensor) { tensor->data = std::malloc(tvm::ffi::GetDataSize(*tensor)); }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

inline tvm::ffi::Tensor matrix(float (*element)(int64_t row, int64_t column)) {
  tvm::ffi::Tensor tensor =
      tvm::ffi::Tensor::FromNDAlloc(MallocAllocator(), tvm::ffi::Shape({kSize, kSize}), DLDataType{kDLFloat, 32, 1},
                                    DLDevice{kDLCPU, 0});
  auto* data = static_cast<float*>(tensor.data_ptr());
  for (int64_t i = 0; i < kSize; ++i)
    for (int64_t j = 0; j < kSize; ++j) data[i * kSize + j] = element(i, j);
  return tensor;
}

// Runs `add` and `matmul` on small integers, whose results are exact.
inline void run_examples(const std::string& where, const tvm::ffi::Function& add, const tvm::ffi::Function& matmul) {
  tvm::ffi::Tensor a = matrix([](int64_t i, int64_t j) { return float(i + 2 * j); });
  tvm::ffi::Tensor b = matrix([](int64_t i, int64_t j) { return float(3 * i - j); });
  tvm::ffi::Tensor c = matrix([](int64_t, int64_t) { return NAN; });
  const auto* left = static_cast<const float*>(a.data_ptr());
  const auto* right = static_cast<const float*>(b.data_ptr());
  const auto* result = static_cast<const float*>(c.data_ptr());

  add(a, b, c);
  bool right_sums = true;
  for (int64_t i = 0; i < kSize * kSize; ++i) right_sums &= result[i] == left[i] + right[i];
  check(where + ": add", right_sums);

  matmul(a, b, c);
  bool right_products = true;
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = 0; j < kSize; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < kSize; ++k) sum += left[i * kSize + k] * right[k * kSize + j];
      right_products &= result[i * kSize + j] == sum;
    }
  }
  check(where + ": matmul", right_products);

  bool refused = false;
  try {
    add(a, b);
  } catch (const tvm::ffi::Error& error) {
    refused = true;
  }
  check(where + ": a call with an argument too few is an error", refused);
}
