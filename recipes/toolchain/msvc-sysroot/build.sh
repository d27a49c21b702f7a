# Puts the open MSVC-ABI sysroot together: headers, import libraries, start-up code, libc++.

readonly sysroot=/build/src/sysroot
readonly libcxx=/build/src/llvm/libcxx
readonly out=/build/out
readonly wine=/usr/include/wine/wine
readonly wine_dlls=/usr/lib/x86_64-linux-gnu/wine/x86_64-windows

mkdir -p "$out"/{cmake,include/c++/v1,include/vcruntime,lib,licenses/libcxx,licenses/sysroot}
cp -r "$sysroot/include/." "$out/include/vcruntime/"
# Of an environment's files, directories too can be read-only.
cp -r --no-preserve=mode "$wine/msvcrt" "$out/include/ucrt"
# Wine's C runtime keeps less in an mbstate_t than the Universal CRT writes into it; its wscanf has a parameter too many.
sed -i 's/^typedef int mbstate_t;$/typedef struct _Mbstatet { unsigned long _Wchar; unsigned short _Byte, _State; } mbstate_t;/' \
    "$out/include/ucrt/wchar.h"
sed -i '/ __cdecl wscanf\(_s\)\?(FILE/s/FILE \*file, \|FILE\*,//' "$out/include/ucrt/corecrt_wstdio.h"
cp -r "$wine/windows" "$out/include/um"
cp "$sysroot/cmake/toolchain.cmake" "$out/cmake/"
cp /build/src/licenses/* "$out/licenses/sysroot/"
cp "$libcxx/LICENSE.TXT" "$out/licenses/libcxx/LICENSE"

cp -r "$libcxx/include/." "$out/include/c++/v1/"
rm -f "$out"/include/c++/v1/{CMakeLists.txt,*.in}
cp "$sysroot/libcxx/__config_site" "$out/include/c++/v1/"
cp "$libcxx/vendor/llvm/default_assertion_handler.in" "$out/include/c++/v1/__assertion_handler"

python3 "$sysroot/import_libraries.py" "$out/lib"
cp "$wine_dlls/libuuid.a" "$out/lib/uuid.lib"

readonly include=(-imsvc "$out/include/vcruntime" -imsvc "$out/include/ucrt" -imsvc "$out/include/um")
# Source names in objects are those below the source's own directory.
readonly reproducible=(/Brepro "/clang:-ffile-prefix-map=/build/src/=" "/clang:-ffile-prefix-map=/build/out/=")
# The start-up code can't rely on what it sets up: no cookies, no guarded statics, no default libraries.
readonly startup_flags=(--target=x86_64-pc-windows-msvc /c /O2 /W3 /Zl /GS- /Zc:threadSafeInit- "${reproducible[@]}")

mkdir -p startup cxx libcxx
for source in "$sysroot"/startup/*.c; do
    clang-cl "${startup_flags[@]}" "/Fostartup/$(basename "$source" .c).obj" -- "$source"
done
# Without the option the assembler writes the time into the object, as for incremental linking.
clang --target=x86_64-pc-windows-msvc -mno-incremental-linker-compatible -c -o startup/stack.obj "$sysroot/startup/stack.s"
for source in "$sysroot"/cxx/*.cpp; do
    clang-cl "${startup_flags[@]}" /EHsc /GR- "${include[@]}" "/Focxx/$(basename "$source" .cpp).obj" -- "$source"
done
# Objects compiled with /MD ask for msvcrt.lib and oldnames.lib by name.
llvm-lib "/OUT:$out/lib/msvcrt.lib" startup/*.obj cxx/{new_delete,new_handler,type_info}.obj
llvm-lib /llvmlibempty "/OUT:$out/lib/oldnames.lib"

# The sources of libc++ for Windows without its parts for debugging, time zones and 128-bit integers of compiler-rt.
libcxx_sources=(
    algorithm any atomic barrier bind call_once charconv chrono condition_variable condition_variable_destructor
    error_category exception filesystem/directory_entry filesystem/directory_iterator filesystem/filesystem_clock
    filesystem/filesystem_error filesystem/int128_builtins filesystem/operations filesystem/path fstream functional future
    hash ios ios.instantiations iostream legacy_pointer_safety locale memory memory_resource mutex mutex_destructor
    new_handler new_helpers optional ostream print random random_shuffle regex ryu/d2fixed ryu/d2s ryu/f2s shared_mutex
    stdexcept string strstream support/win32/locale_win32 support/win32/support support/win32/thread_win32 system_error
    thread typeinfo valarray variant vector verbose_abort
)
libcxx_flags=(
    --target=x86_64-pc-windows-msvc -fms-compatibility-version=19.38 /c /O2 /MD /EHsc /GR /std:c++latest -Wno-everything
    "${reproducible[@]}" -I "$out/include/c++/v1" -I "$libcxx/src" "${include[@]}"
    -D_LIBCPP_BUILDING_LIBRARY -D_CRT_STDIO_ISO_WIDE_SPECIFIERS -D_CRT_SECURE_NO_WARNINGS -DNOMINMAX -DWINE_UNICODE_NATIVE
)
{
    echo "rule compile"
    echo "  command = clang-cl ${libcxx_flags[*]} \$flags /Fo\$out -- \$in"
    echo "  description = \$in"
    for name in "${libcxx_sources[@]}"; do
        echo "build libcxx/${name//\//_}.obj: compile $libcxx/src/$name.cpp"
        # Its __ExceptionPtr* come from our exception_pointer.cpp, not from a DLL.
        if [ "$name" = exception ]; then echo "  flags = -U_DLL"; fi
    done
} >build.ninja
ninja -j "${JOBS:-$(nproc)}"
llvm-lib "/OUT:$out/lib/libc++.lib" libcxx/*.obj cxx/exception_pointer.obj
