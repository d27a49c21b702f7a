# Configures the compiler as `tvm-compiler` does, and compiles the file of it that knows LLVM best.
source=/build/src/tilelang/3rdparty/tvm
. /build/src/build.sh
. /build/src/take.sh
. /build/src/tvm-compiler-build.sh

configure_compiler
take_library tvm-runtime tvm_ffi
take_library tvm-runtime tvm_runtime
object=CMakeFiles/tvm_objs.dir/src/target/llvm/llvm_module.cc.o
ninja -j "${JOBS:-$(nproc)}" "$object"
install -D -m 644 "$object" "$out/llvm_module.o"
no_build_paths
