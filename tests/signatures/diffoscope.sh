#!/bin/bash
# `diff --diffoscope` and `verify --rebuild --diffoscope` with Debian's diffoscope: both programs name the same member of an archive.
#
#   tests/signatures/diffoscope.sh XTASK
#
# Installs nothing: diffoscope-minimal of this machine's Debian is unpacked in a temporary directory. Takes about a minute.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
xtask=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -qq download diffoscope-minimal python3-{distro,libarchive-c,magic,pkg-resources} libarchive13 libmagic1 libmagic-mgc 2>/dev/null
for package in *.deb; do dpkg-deb -x "$package" debian; done
mkdir bin
cat > bin/diffoscope <<EOF
#!/bin/sh
export PYTHONPATH=$work/debian/usr/lib/python3/dist-packages LD_LIBRARY_PATH=$work/debian/usr/lib/x86_64-linux-gnu
export MAGIC=$work/debian/usr/lib/file/magic.mgc
exec /usr/bin/python3 $work/debian/usr/bin/diffoscope "\$@"
EOF
chmod +x bin/diffoscope
export PATH=$work/bin:$PATH MLC_REPRO_STORE=$work/store
diffoscope --version

"$here/small_project.sh" project
cd project
# A build that is not reproducible: one word of one file.
echo 'head -c 8 /dev/urandom | od -An -tx1 > /build/out/word' >> recipes/packages/whole/build.sh
"$xtask" -q release small
expect() { # EXIT_STATUS, what both pages name …, then the command
    local status=0
    rm -rf report
    "${@:3}" > log 2>&1 || status=$?
    [ "$status" = "$1" ] || { echo "WRONG exit status $status"; cat log; exit 1; }
    for page in report/report.html report/diffoscope.html; do
        grep -q "$2" "$page" || { echo "WRONG $page does not name $2"; exit 1; }
    done
    echo "ok    both pages name $2: ${*:4}"
}
expect 1 whole-1-x86_64-unknown-linux-gnu/word "$xtask" verify --rebuild dist/small --report report --diffoscope
cp -r dist/small other
"$xtask" -q build whole -o built >/dev/null
mkdir changed
tar -xzf other/whole-1-x86_64-unknown-linux-gnu.tar.gz -C changed
echo more >> changed/whole-1-x86_64-unknown-linux-gnu/bin/hello
tar -C changed --sort=name --owner=0 --group=0 --numeric-owner --mtime=@315532800 -czf other/whole-1-x86_64-unknown-linux-gnu.tar.gz .
expect 1 bin/hello "$xtask" diff dist/small other --report report --diffoscope
