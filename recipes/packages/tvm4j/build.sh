# Links the JNI library against the runtime, and lays out what the AAR holds.
source=/build/src/tilelang/3rdparty/tvm
. /build/src/build.sh

check_ndk
readonly runtime=$source_root/dependencies/tvm-runtime java=$source_root/dependencies/tvm4j-core
# The version script keeps everything but the entry points of the Java classes out of the table of symbols.
echo '{ global: Java_*; JNI_*; local: *; };' >exports
mkdir -p lib
# shellcheck disable=SC2086 # the flags are words
"$ndk/toolchains/llvm/prebuilt/linux-x86_64/bin/clang++" --target=aarch64-linux-android$android_api \
    $compile_flags -O2 -std=c++17 -fPIC -DANDROID -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
    -I "$java/include" -I "$source/jvm/native/src/main/native" -I "$runtime/include" \
    "$source/jvm/native/src/main/native/org_apache_tvm_native_c_api.cc" \
    -shared -static-libstdc++ -Wl,-soname,libtvm4j.so -Wl,--version-script=exports $link_flags \
    -L "$runtime/lib" -ltvm_runtime -ltvm_ffi -o lib/libtvm4j.so
install_library lib tvm4j

mkdir -p "$out/jni/arm64-v8a" "$out/licenses"
mv "$out/lib/libtvm4j.so" "$out/jni/arm64-v8a/"
# What was stripped stays with the build: an AAR has no place for it, and the lines of this one file are few.
rm -r "$out/lib" "$out/debug"
cp "$runtime/lib/libtvm_ffi.so" "$runtime/lib/libtvm_runtime.so" "$out/jni/arm64-v8a/"
cp "$java/tvm4j_core.jar" "$out/classes.jar"
cp "$java/tvm4j_core-sources.jar" "$out/sources.jar"
# Native code looks classes and members up by name.
echo '-keep class org.apache.tvm.** { *; }' >"$out/proguard.txt"
cp -r --no-preserve=mode "$runtime/licenses/." "$out/licenses/"
no_build_paths
