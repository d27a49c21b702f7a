# Runs the programs of the C++ test on the libraries of each archive, and of both in one process.
. /build/src/run.sh

readonly programs=$source_root/dependencies/cxx-program/bin
# lay_out DIRECTORY PROGRAM ARCHIVE...: a program with the libraries of archives; those of later ones replace those of earlier ones.
lay_out() {
    mkdir "$1"
    local archive
    for archive in "${@:3}"; do
        cp -f "$source_root/dependencies/$archive/$library_directory"/*"$library_suffix" "$1/"
    done
    cp "$programs/$2$program_suffix" "$1/"
}
lay_out ffi ffi tvm-ffi
cp "$programs/module$library_suffix" ffi/
report tvm-ffi run ffi ffi "module$library_suffix"

lay_out runtime runtime tvm-runtime
report tvm-runtime run runtime runtime

# One tvm_ffi for all, whichever archive it is taken from.
cmp "$source_root/dependencies/tvm-ffi/$library_directory/$(library tvm_ffi)" \
    "$source_root/dependencies/tvm-runtime/$library_directory/$(library tvm_ffi)"
lay_out together runtime tvm-runtime tvm-ffi
case $TARGET in
*-linux-gnu) beside=./$(library tvm_ffi_testing) ;;
*) beside=$(library tvm_ffi_testing) ;;
esac
report together run together runtime "$beside"
