# Lays Microsoft's C runtime and Windows SDK out like the open sysroot: include/, lib/, cmake/, licenses/.

readonly source=/build/src/microsoft-sdk
readonly out=/build/out

mkdir -p "$out"/{cmake,include,lib,licenses/microsoft-sdk}
cp /build/src/{toolchain,open-toolchain}.cmake "$out/cmake/"
# Links stay links: they are the names in other letters, in the same directory.
cp -r --no-dereference "$source/crt/include" "$out/include/vcruntime"
for part in shared ucrt um; do
    cp -r --no-dereference "$source/sdk/include/$part" "$out/include/$part"
done
for part in crt/lib/x86_64 sdk/lib/ucrt/x86_64 sdk/lib/um/x86_64; do
    cp -r --no-dereference "$source/$part/." "$out/lib/"
done
cat >"$out/licenses/microsoft-sdk/NOTICE" <<'END'
The start-up code and import descriptors that Microsoft's linker libraries put into every program are "Distributable Code" of
Microsoft Visual Studio. https://go.microsoft.com/fwlink/?LinkId=2086102 has its terms.
END
