#!/bin/bash
# llvm-config of Debian's LLVM for linking it statically. What LLVM uses of the system is linked statically too, except for
# libtinfo, which no_terminfo.c stands in for; libz3 and libxml2 are used by parts of LLVM that TVM does not call.
libraries=/usr/lib/x86_64-linux-gnu
case $* in
--system-libs) echo "-lrt -ldl -lm $libraries/libz.a $libraries/libzstd.a $(dirname "$0")/libno_terminfo.a" ;;
# Polly is named, and is in another package.
--libfiles) /usr/lib/llvm-18/bin/llvm-config --link-static --libfiles | sed 's| *[^ ]*/libPolly[^ ]*||g' ;;
*) exec /usr/lib/llvm-18/bin/llvm-config --link-static "$@" ;;
esac
