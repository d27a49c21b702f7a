# Makes a Wine prefix (registry and drive C) once, so that every check starts from it instead of taking ten seconds to make its own.
export WINEPREFIX=$PWD/prefix WINEDEBUG=-all
export WINEDLLOVERRIDES='mscoree,mshtml=;winemenubuilder.exe='

# Wine says on stderr that there is no display and no 32-bit half; both are meant.
timeout 300 /usr/lib/wine/wine64 wineboot --init 2>&1 | sed 's/^/wineboot: /'
timeout 300 /usr/lib/wine/wineserver64 -w
test -f prefix/system.reg -a -f prefix/drive_c/windows/system32/kernel32.dll

# Wine would redo the prefix when its own installation looks newer than this stamp.
echo disable >prefix/.update-timestamp
# The user's drives: they lead out of the prefix, and whoever uses it makes them.
rm -rf prefix/dosdevices prefix/wineserver

# The registry's dates and its random names of machine and network are no part of what the prefix is for.
sed -i -E \
    -e '/^#time=/d' \
    -e 's/^(\[.*\]) [0-9]+$/\1 0/' \
    -e 's/^("InstallDate"=dword:).*/\100000000/' \
    -e 's/^("MachineGuid"=").*"/\100000000-0000-0000-0000-000000000000"/' \
    prefix/*.reg
# Plug and play numbers the devices in the order they happened to answer in, and finds them anew at every start.
awk '/^\[/ { skip = /^\[System\\\\ControlSet001\\\\(Enum|Control\\\\(Class|DeviceClasses|Video))\\\\/ } !skip' \
    prefix/system.reg >system.reg
mv system.reg prefix/system.reg

# No DLL of 700 MB is stored twice: these are byte for byte the environment's own, and the store keeps equal contents once.
mkdir -p /build/out/prefix
cp -r prefix/. /build/out/prefix/
chmod -R u+rwX,go+rX,go-w /build/out/prefix
