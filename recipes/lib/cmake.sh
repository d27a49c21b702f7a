# Shared by the build scripts: how CMake is called for $TARGET, and what every output must keep to.
# Sourced by `recipes/*.sh` from /build/src/build.sh; the caller runs under `bash -euo pipefail` and has set `source`, the
# directory of the sources below /build/src.

readonly source_root=/build/src
readonly out=/build/out

# Flags that every compiler call gets. Absolute paths would otherwise reach `__FILE__`, and from there error messages; there the
# files of the source are named from its top, as upstream does it. clang uses the last prefix that fits.
# clang-cl ignores `-ffile-prefix-map` unless it is passed on to clang.
case $TARGET in
*-windows-msvc)
    readonly prefix_map=/clang:-ffile-prefix-map
    readonly compile_flags="$prefix_map=$source_root=. $prefix_map=$PWD=. $prefix_map=$source/="
    # /Brepro replaces time stamps by a hash of the contents. A PDB would hold build paths and is not shipped, but tvm-ffi's
    # CMake asks for /DEBUG: /PDBALTPATH keeps the directory of the file out of the DLL, and /OPT restores what /DEBUG turns off.
    readonly link_flags='/Brepro /PDBALTPATH:%_PDB% /OPT:REF /OPT:ICF'
    ;;
*-linux-gnu)
    readonly prefix_map=-ffile-prefix-map
    compile_flags="$prefix_map=$source_root=. $prefix_map=$PWD=. $prefix_map=$source/= -fstack-protector-strong -D_FORTIFY_SOURCE=2"
    # The build id is a hash of the contents. `-z now` and relro leave no writable table of functions behind.
    link_flags='-fuse-ld=lld -Wl,--build-id=sha1 -Wl,--as-needed -Wl,-z,relro,-z,now,-z,noexecstack'
    if [ -d "$source_root/glibc-floor" ]; then
        . "$source_root/glibc-floor/floor.sh"
    fi
    readonly compile_flags link_flags
    ;;
*-linux-android)
    # The NDK's toolchain file adds hardening of its own; `configure` checks that it did.
    readonly ndk=$source_root/ndk android_api=28
    readonly prefix_map=-ffile-prefix-map
    # Lines are enough to make sense of a stack; they go to a file of their own, without the command line, which has paths.
    readonly compile_flags="$prefix_map=$source_root=. $prefix_map=$PWD=. $prefix_map=$source/= -gline-tables-only -gno-record-command-line"
    readonly link_flags='-Wl,--build-id=sha1 -Wl,--no-undefined -Wl,-z,relro,-z,now,-z,noexecstack -Wl,-z,max-page-size=16384'
    ;;
*)
    echo "no toolchain is known for the target \`$TARGET\`" >&2
    exit 1
    ;;
esac

# check_ndk: fails when the NDK is of another revision than the policies are for.
check_ndk() {
    local revision='' line
    while IFS= read -r line; do
        [[ $line != Pkg.Revision* ]] || revision=${line#*= }
    done <"$ndk/source.properties"
    if [ "$revision" != 27.2.12479018 ]; then
        echo "this is NDK revision ${revision:-unknown}, and the policies are for 27.2.12479018 (r27c)" >&2
        exit 1
    fi
}

# configure [CMAKE ARGUMENT...]: configures $source for $TARGET in the current directory.
configure() {
    local toolchain=()
    case $TARGET in
    *-windows-msvc)
        toolchain=(
            -DCMAKE_TOOLCHAIN_FILE="$source_root/dependencies/msvc-sysroot/cmake/toolchain.cmake"
        )
        ;;
    *-linux-gnu)
        toolchain=(
            -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++
            -DCMAKE_AR=/usr/lib/llvm-18/bin/llvm-ar -DCMAKE_RANLIB=/usr/lib/llvm-18/bin/llvm-ranlib
            -DCMAKE_NM=/usr/lib/llvm-18/bin/llvm-nm -DCMAKE_STRIP=/usr/lib/llvm-18/bin/llvm-strip
        )
        ;;
    *-linux-android)
        check_ndk
        # The toolchain file adds its own flags to these, and takes none out of the environment.
        toolchain=(
            -DCMAKE_TOOLCHAIN_FILE="$ndk/build/cmake/android.toolchain.cmake"
            -DANDROID_ABI=arm64-v8a -DANDROID_PLATFORM=android-$android_api -DANDROID_STL=c++_static
            "-DCMAKE_C_FLAGS=$compile_flags" "-DCMAKE_CXX_FLAGS=$compile_flags"
            "-DCMAKE_SHARED_LINKER_FLAGS=$link_flags" "-DCMAKE_MODULE_LINKER_FLAGS=$link_flags"
            # Its configure script would build it with the NDK's compiler, but not for Android.
            -DTVM_FFI_USE_LIBBACKTRACE=OFF
            # Android looks beside the application's libraries, and nowhere else.
            -DCMAKE_SKIP_RPATH=ON
        )
        ;;
    esac
    # Installed run paths are used from the start, so that no build directory is ever written into a library.
    # No registry of packages, no Git: what is found must not depend on the machine.
    CFLAGS=$compile_flags CXXFLAGS=$compile_flags LDFLAGS=$link_flags cmake -S "$source" -B . -G Ninja \
        -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN" \
        -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF -DCMAKE_FIND_USE_SYSTEM_PACKAGE_REGISTRY=OFF \
        -DCMAKE_DISABLE_FIND_PACKAGE_Git=ON \
        "${toolchain[@]}" "$@"
    case $TARGET in
    *-linux-android)
        # A flag that was replaced, not added to, is missed by nothing else: a library without it links without a word.
        local flag rules
        rules=$(cat build.ninja CMakeFiles/rules.ninja)
        for flag in --target=aarch64-none-linux-android$android_api -DANDROID -fstack-protector-strong -D_FORTIFY_SOURCE=2 \
            $link_flags; do
            if [[ $rules != *"$flag"* ]]; then
                echo "the build does not use \`$flag\`" >&2
                exit 1
            fi
        done
        ;;
    esac
}

# install_library DIRECTORY NAME...: copies shared libraries (and their import libraries) out of DIRECTORY, stripped.
install_library() {
    local directory=$1 name
    shift
    for name; do
        case $TARGET in
        *-windows-msvc)
            install -D -m 644 "$directory/$name.dll" "$out/bin/$name.dll"
            install -D -m 644 "$directory/$name.lib" "$out/lib/$name.lib"
            ;;
        *-linux-gnu)
            mkdir -p "$out/lib"
            llvm-strip --strip-unneeded -o "$out/lib/lib$name.so" "$directory/lib$name.so"
            chmod 644 "$out/lib/lib$name.so"
            ;;
        *-linux-android)
            local tools=$ndk/toolchains/llvm/prebuilt/linux-x86_64/bin
            mkdir -p "$out/lib" "$out/debug"
            "$tools/llvm-objcopy" --only-keep-debug "$directory/lib$name.so" "$out/debug/lib$name.so.debug"
            "$tools/llvm-strip" --strip-unneeded -o "$out/lib/lib$name.so" "$directory/lib$name.so"
            "$tools/llvm-objcopy" --add-gnu-debuglink="$out/debug/lib$name.so.debug" "$out/lib/lib$name.so"
            chmod 644 "$out/lib/lib$name.so" "$out/debug/lib$name.so.debug"
            ;;
        esac
    done
}

# install_headers FROM TO: copies a tree of headers to include/TO.
install_headers() {
    mkdir -p "$out/include/$2"
    (cd "$1" && find . -name '*.h' -type f -print0 | LC_ALL=C sort -z) | while IFS= read -r -d '' header; do
        install -D -m 644 "$1/$header" "$out/include/$2/$header"
    done
}

# fill FILE TO NAME=VALUE...: copies a template of recipes/package, @NAME@ replaced by VALUE; VERSION and TARGET are known.
fill() {
    local text pair
    text=$(cat "$source_root/package/$1"; echo .)
    text=${text%.}
    for pair in "VERSION=$VERSION" "TARGET=$TARGET" "${@:3}"; do
        text=${text//"@${pair%%=*}@"/"${pair#*=}"}
    done
    if [[ $text =~ @[A-Z_]+@ ]]; then
        echo "recipes/package/$1: nothing is known for ${BASH_REMATCH[0]}" >&2
        exit 1
    fi
    mkdir -p "$(dirname "$out/$2")"
    printf '%s' "$text" >"$out/$2"
    chmod 644 "$out/$2"
}

# install_package NAME URL DESCRIPTION [REQUIRES [NAME=VALUE...]]: the files by which CMake and pkg-config find the library NAME of
# version $VERSION. CMake knows numbers alone: `0.1.15` of `0.1.15.post2`. REQUIRES is what pkg-config calls the library below it.
install_package() {
    local name=$1 url=$2 description=$3 requires=${4-} number=${VERSION%%.[a-z]*} system
    case $TARGET in
    *-windows-msvc) system=Windows ;;
    *-linux-gnu) system=Linux ;;
    *-linux-android) system=Android ;;
    esac
    fill "${name}Config.cmake" "lib/cmake/$name/${name}Config.cmake" "${@:5}"
    fill ConfigVersion.cmake "lib/cmake/$name/${name}ConfigVersion.cmake" "NUMBER=$number" "SYSTEM=$system"
    fill library.cmake "lib/cmake/$name/library.cmake"
    fill package.pc "lib/pkgconfig/$name.pc" "NAME=$name" "DESCRIPTION=$description" "URL=$url" "REQUIRES=$requires"
    sed -i '/^Requires: $/d' "$out/lib/pkgconfig/$name.pc"
}

# readme FILE [NAME=VALUE...]: README.md of the archive, with what it needs on $TARGET.
readme() {
    local needs
    case $TARGET in
    *-windows-msvc) needs=windows ;;
    *-linux-gnu) needs=linux ;;
    *-linux-android) needs=android ;;
    esac
    fill "$1" README.md "NEEDS=$(cat "$source_root/package/needs/$needs.md")"$'\n' "GLIBC=${glibc-}" "GCC=${gcc-}" "${@:2}"
}

# install_licence FILE NAME: copies a licence or notice to licenses/NAME.
install_licence() {
    install -D -m 644 "$1" "$out/licenses/$2"
}

# install_runtime_licences: the licences of what is linked statically into every library: of the MSVC sysroot (libc++, the start-up
# code), or of the NDK (libc++, compiler-rt, libunwind).
install_runtime_licences() {
    case $TARGET in
    *-windows-msvc)
        mkdir -p "$out/licenses"
        cp -r --no-preserve=mode "$source_root/dependencies/msvc-sysroot/licenses/." "$out/licenses/"
        ;;
    *-linux-android) install_licence "$ndk/NOTICE.toolchain" android-ndk/NOTICE.toolchain ;;
    esac
}

# no_build_paths: fails when a byte of the output names the place it was built in.
no_build_paths() {
    local found
    found=$(grep -rlaE '/build/(src|work|out)' "$out" || true)
    if [ -n "$found" ]; then
        printf 'these files name the build directory:\n%s\n' "$found" >&2
        exit 1
    fi
}
