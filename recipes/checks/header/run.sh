# Compiles every header of every archive alone, as whoever includes it first does.
source=/build/src/headers
. /build/src/build.sh

# The headers of tvm-ffi are in the other archive too. They are the same there, so what holds for them here holds there.
ffi=$source_root/dependencies/tvm-ffi runtime=$source_root/dependencies/tvm-runtime
diff -r "$ffi/include" "$runtime/include" | grep -v "^Only in $runtime/include" >differences.txt || true
if [ -s differences.txt ]; then
    cat differences.txt >&2
    echo "tvm-runtime has other headers of tvm-ffi than tvm-ffi itself" >&2
    exit 1
fi

# compile_headers NAME CMAKE-ARGUMENT...: prints the headers that do not compile alone.
compile_headers() {
    mkdir "$1"
    (
        cd "$1"
        configure "${@:2}" >configure.txt
        # One that fails keeps no other from being tried.
        ninja -k 0 -j "${JOBS:-$(nproc)}" >ninja.txt || true
        sed -n 's|^FAILED: .*CMakeFiles/\([^/]*\)\.dir/.*|\1|p' ninja.txt | tr + /
    )
}
{
    compile_headers tvm-ffi "-DARCHIVE=$ffi"
    compile_headers tvm-runtime "-DARCHIVE=$runtime" "-DTESTED=$ffi"
} | LC_ALL=C sort -u >failed.txt
sed -n 's/^\([a-z][^ ]*\) .*/\1/p' "$source/exceptions.txt" >expected.txt

# Exactly those that are known to need more: one that compiles after all is taken off the list.
if ! diff expected.txt failed.txt >differences.txt; then
    grep -h -A 20 '^FAILED' */ninja.txt >&2 || true
    cat differences.txt >&2
    echo "headers that do not compile alone (>) are not those of tests/headers/exceptions.txt (<)" >&2
    exit 1
fi
{
    echo "$(find "$runtime/include" "$ffi/include" -type f -printf '%P\n' | LC_ALL=C sort -u | wc -l) headers, each compiled alone but for:"
    grep '^[a-z]' "$source/exceptions.txt"
} | tee "$out/headers.txt"
