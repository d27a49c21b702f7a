# Builds mlc-llm's engine with the TVM that it pins, links the JNI library against them, and lays out what the AAR holds.
source=/build/src/mlc4j
. /build/src/build.sh

readonly mlc=$source_root/mlc-llm classes=$source_root/dependencies/mlc4j-classes tokenizers=$source_root/dependencies/tokenizers-c
# tokenizers-cpp's CMake calls cargo for its static library, which is there already.
cat >cargo <<END
#!/bin/sh
exec install -D -m 644 $tokenizers/lib/libtokenizers_c.a "\$CARGO_TARGET_DIR/$TARGET/release/libtokenizers_c.a"
END
chmod 755 cargo
model=()
if [ -d "$source_root/model" ]; then
    model=("-DMODEL=$(find "$source_root/model" -name 'libmodel_android.a')")
fi
configure -DMLC_LLM="$mlc" -DJNI_HEADERS="$classes/include" -DCARGO_EXECUTABLE="$PWD/cargo" "${model[@]}" \
    -DUSE_OPENCL=ON -DUSE_OPENCL_ENABLE_HOST_PTR=ON -DUSE_VULKAN=OFF -DUSE_LLVM=OFF -DUSE_HEXAGON_SDK=OFF \
    -DUSE_CCACHE=OFF -DUSE_ALTERNATIVE_LINKER=OFF
# TVM's CMake leaves a device API out without an error when it does not find what that needs.
if ! grep -q '/src/runtime/opencl/opencl_device_api\.cc\.o:' build.ninja; then
    echo "OpenCL is no part of the runtime" >&2
    exit 1
fi
ninja -j "${JOBS:-$(nproc)}" tvm4j

install_library lib tvm_ffi tvm_runtime mlc_llm tvm4j
# What JSONFFIEngine.java asks the engine for.
if ! grep -qa 'mlc\.json_ffi\.CreateJSONFFIEngine' "$out/lib/libmlc_llm.so"; then
    echo "the engine does not register the function that Java creates it by" >&2
    exit 1
fi
mkdir -p "$out/jni/arm64-v8a"
mv "$out"/lib/*.so "$out/jni/arm64-v8a/"
# What was stripped stays with the build: an AAR has no place for it.
rm -r "$out/lib" "$out/debug"
cp "$classes/mlc4j.jar" "$out/classes.jar"
cp "$classes/mlc4j-sources.jar" "$out/sources.jar"
# Native code looks classes and members up by name.
printf -- '-keep class %s.** { *; }\n' org.apache.tvm ai.mlc.mlcllm >"$out/proguard.txt"

mkdir -p "$out/licenses"
cp -r --no-preserve=mode "$classes/licenses/." "$tokenizers/licenses/." "$out/licenses/"
install_licence "$mlc/NOTICE" mlc-llm/NOTICE
install_licence "$mlc/3rdparty/xgrammar/LICENSE" xgrammar/LICENSE
install_licence "$mlc/3rdparty/stb/LICENSE" stb/LICENSE
install_licence "$mlc/3rdparty/tokenizers-cpp/msgpack/LICENSE_1_0.txt" msgpack/LICENSE
install_licence "$mlc/3rdparty/tokenizers-cpp/sentencepiece/LICENSE" sentencepiece/LICENSE
install_licence "$mlc/3rdparty/tvm/3rdparty/tvm-ffi/LICENSE" tvm-ffi/LICENSE
install_licence "$mlc/3rdparty/tvm/3rdparty/tvm-ffi/3rdparty/dlpack/LICENSE" dlpack/LICENSE
install_licence "$mlc/3rdparty/tvm/3rdparty/OpenCL-Headers/LICENSE" opencl-headers/LICENSE
install_licence "$mlc/3rdparty/tvm/3rdparty/dmlc-core/LICENSE" dmlc-core/LICENSE
install_runtime_licences
no_build_paths
