# Compiles the binding and lays the package out as upstream's build does.
source=/build/src/binding
. /build/src/build.sh

readonly upstream=$source_root/tvm-ffi dependencies=$source_root/dependencies package=$out/tvm_ffi
case $TARGET in
*-windows-msvc)
    readonly suffix=.cp313-win_amd64.pyd
    mkdir python
    cp -r "$source_root/python/Include" python/include
    cp "$source_root/python/PC/pyconfig.h.in" python/include/pyconfig.h
    # CPython's own DLL is not here; what it exports is, so that a name which it lacks fails the link.
    llvm-dlltool -m i386:x86-64 -d "$source_root/python3-dll-a/src/python313.def" -l python/python313.lib
    python=(-DPYTHON_HEADERS="$PWD/python/include" -DPYTHON_LIBRARIES="$PWD/python")
    ;;
*-linux-gnu)
    readonly suffix=.cpython-313-x86_64-linux-gnu.so
    python=(-DPYTHON_HEADERS=/usr/include/python3.13)
    ;;
esac
configure -DBINDING="$dependencies/tvm-ffi-binding/core.cpp" -DBINDING_HEADERS="$upstream/python/tvm_ffi/cython" \
    -DLIBRARIES="$dependencies/tvm-ffi" -DMODULE_SUFFIX=$suffix "${python[@]}"
ninja -j "${JOBS:-$(nproc)}"

mkdir -p "$package"/{3rdparty/dlpack,lib,share/cmake/tvm_ffi,src}
cp -r "$upstream/python/tvm_ffi/." "$package/"
cp "core$suffix" "$package/"
cp -r "$dependencies/tvm-ffi/include" "$package/"
cp "$upstream"/python/tvm_ffi/cython/*.h "$package/include/"
# What the package compiles from on the user's machine (`tvm_ffi.cpp`, `tvm-ffi-config --sourcedir`).
cp -r "$upstream/src/ffi" "$package/src/"
cp "$upstream/CMakeLists.txt" "$package/"
cp -r "$upstream/cmake/Utils" "$package/share/cmake/tvm_ffi/"
cp "$upstream/cmake/tvm_ffi-config.cmake" "$package/share/cmake/tvm_ffi/"
cp -r "$upstream/3rdparty/dlpack/include" "$package/3rdparty/dlpack/"
cp -r "$upstream/3rdparty/libbacktrace" "$package/3rdparty/"
case $TARGET in
*-windows-msvc) cp "$dependencies"/tvm-ffi/bin/*.dll "$dependencies"/tvm-ffi/lib/*.lib "$package/lib/" ;;
*-linux-gnu)
    cp "$dependencies"/tvm-ffi/lib/*.so "$package/lib/"
    llvm-strip --strip-unneeded "$package/core$suffix"
    ;;
esac
find "$out" -name '.git*' -prune -exec rm -r {} +
# What the package says of itself on its page, METADATA: first what is different from the official one.
case $TARGET in
*-windows-msvc) cat "$source/windows.md" "$upstream/README.md" >"$out/README.md" ;;
*) cat "$source/linux.md" "$upstream/README.md" >"$out/README.md" ;;
esac
cp -r "$dependencies/tvm-ffi/licenses" "$out/"
chmod -R u=rwX,go=rX "$out"
find "$out" -type f -exec chmod 644 {} +
no_build_paths
