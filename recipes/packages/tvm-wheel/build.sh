# Lays the package out: tvm/libinfo.py looks for the libraries in tvm/lib. tvm_ffi is not among them: the package
# apache-tvm-ffi loads its own before, and two of them would not know each other's types.
readonly source_root=/build/src out=/build/out
readonly compiler=$source_root/dependencies/tvm-compiler
readonly upstream=$source_root/tilelang/3rdparty/tvm

mkdir -p "$out/tvm/lib"
cp -r "$upstream/python/tvm/." "$out/tvm/"
case $TARGET in
*-windows-msvc) cp "$compiler"/bin/tvm_{compiler,runtime}.dll "$out/tvm/lib/" ;;
*-linux-gnu) cp "$compiler"/lib/libtvm_{compiler,runtime}.so "$out/tvm/lib/" ;;
esac
cp -r "$compiler/licenses" "$out/"
cp "$upstream/README.md" "$out/"
find "$out" -name '.git*' -prune -exec rm -r {} +
chmod -R u=rwX,go=rX "$out"
find "$out" -type f -exec chmod 644 {} +
