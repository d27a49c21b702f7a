# Builds the programs of the sysroot's test without and with optimization: much of start-up code is only called without.
source=/build/src/test
. /build/src/build.sh

python3 "$source/names.py" "$source_root/dependencies/msvc-sysroot"

build() {
    local mode=$1
    mkdir "$mode"
    (
        cd "$mode"
        configure -DCMAKE_CXX_FLAGS_RELEASE="$2"
        ninja -j "${JOBS:-$(nproc)}"
        install -D -m 755 -t "$out/bin/$mode" language.exe no_exceptions.exe thrower.dll unloaded.dll
    )
}
build unoptimized "/Od /GS"
build optimized "/O2 /GS"
