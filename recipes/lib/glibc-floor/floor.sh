# Makes what is compiled for Linux run on older systems than that of the environment. Sourced by build.sh where a recipe has this directory.
readonly glibc=2.28 gcc=8
mkdir -p glibc-floor
(
    cd glibc-floor
    clang -O2 -fPIC -include "$source_root/glibc-floor/floor.h" -c "$source_root/glibc-floor/floor.c" -o c.o
    clang++ -O2 -fPIC -include "$source_root/glibc-floor/floor.h" -c "$source_root/glibc-floor/floor.cc" -o cxx.o
    llvm-ar rcsD libglibc_floor.a c.o cxx.o
)
compile_flags+=" -include $source_root/glibc-floor/floor.h"
# Before glibc 2.34 what is in libc now was in libdl and libpthread.
link_flags+=" $PWD/glibc-floor/libglibc_floor.a -Wl,--exclude-libs,libglibc_floor.a"
link_flags+=" -Wl,--push-state,--no-as-needed,-l:libdl.so.2,-l:libpthread.so.0,--pop-state"
