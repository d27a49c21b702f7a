#!/usr/bin/env bash
# Builds nodes with the flake by Debian's Nix, and holds them against what this program makes in its own sandbox. A stand-in for
# nixpkgs (ci/nixpkgs) has a shell (Debian's busybox) and the program; inputs come from a server of this machine.
#
# usage: check-flake.sh NAME…          such as tvm4j-core-android, as nix/plan.json calls nodes
set -euo pipefail
cd "$(dirname "$0")/.."
xtask=${XTASK:-target/tool/xtask}
work=$(mktemp -d)
store=$work/nix
server=
end() {
    local status=$?
    if [ -n "$server" ]; then kill "$server"; fi
    if [ "$status" != 0 ]; then tail -n 40 "$work/log"; fi
    # Nix makes what it has built read-only.
    chmod -R u+w "$work"
    rm -rf "$work"
    exit "$status"
}
trap end EXIT

nix_() {
    nix "$@" --store "$store" --extra-experimental-features 'nix-command flakes' --option substitute false \
        --option build-users-group '' --option sandbox true --option sandbox-fallback false --option max-jobs 1 \
        --no-write-lock-file --override-input nixpkgs "path:$work/nixpkgs" 2>>"$work/log"
}

fail() {
    echo "$1" >&2
    exit 1
}

# What the stand-in for nixpkgs needs.
cp -R ci/nixpkgs "$work/nixpkgs"
mkdir -p "$work/nixpkgs/tools/bin" "$work/nixpkgs/tools/lib"
(cd "$work" && apt-get download -qq -o APT::Sandbox::User=root busybox-static && dpkg-deb -x busybox-static_*.deb busybox)
tools=$work/nixpkgs/tools
cp "$work"/busybox/*/busybox "$tools/bin/" 2>/dev/null || cp "$work"/busybox/usr/bin/busybox "$tools/bin/"
for applet in cat chmod cp ln mkdir; do ln -s busybox "$tools/bin/$applet"; done
cp "$xtask" "$tools/lib/xtask"
ldd "$xtask" | grep -o '/[^ ]*' | xargs -I{} cp -L {} "$tools/lib/"

# The flake of this checkout, without what is built in it: Nix copies it whole.
mkdir "$work/flake"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --no-dereference -t "$work/flake"

# Ours, and with it every input is in the store.
store_of_ours=${MLC_REPRO_STORE:-${XDG_CACHE_HOME:-$HOME/.cache}/mlc-repro}
for name in "$@"; do
    node=$(python3 -c 'import json, sys; print(json.load(open("nix/plan.json"))["nodes"][sys.argv[1]]["node"])' "$name")
    "$xtask" build "$node" --output "$work/ours/$name"
done

# A mirror that has what the locks name.
mkdir -p "$work/mirror/sha256"
grep -h '^sha256 = ' containers/*.lock recipes/inputs.lock | cut -d '"' -f 2 | sort -u | while read -r sha256; do
    blob=$store_of_ours/cas/sha256/${sha256:0:2}/$sha256
    if [ -e "$blob" ]; then ln -s "$blob" "$work/mirror/sha256/$sha256"; fi
done
python3 -u -m http.server --bind 127.0.0.1 --directory "$work/mirror" 0 >"$work/server" 2>"$work/requests" &
server=$!
until grep -q ' port ' "$work/server"; do
    kill -0 "$server"
    sleep 0.1
done
echo "http://127.0.0.1:$(sed 's/.* port \([0-9]*\).*/\1/' "$work/server")" >"$work/nixpkgs/mirror"

nix_ flake check --no-build "path:$work/flake"

# Nix takes no input that is another one.
input=$(readlink "$work/mirror/sha256/$(grep -m 1 '^sha256 = ' containers/sandbox.lock | cut -d '"' -f 2)")
other=$work/mirror/sha256/$(basename "$input")
rm "$other"
{ cat "$input" && echo; } >"$other"
if nix_ build --no-link "path:$work/flake#$1"; then fail "a changed input was taken"; fi
grep -q 'hash mismatch in fixed-output derivation' "$work/log" || fail "a changed input was refused for another reason"
ln -sf "$input" "$other"

for name in "$@"; do
    nix_ build --no-link "path:$work/flake#$name"
    path=$(nix_ eval --raw "path:$work/flake#$name")
    hash=$(nix-hash --type sha256 --base32 "$store$path")
    ours=$(nix-hash --type sha256 --base32 "$work/ours/$name"/*)
    [ "$hash" = "$ours" ] || fail "the flake's $name is $hash, and ours is $ours"
    echo "$name: $hash, by the flake and in the sandbox"
done

# A second time nothing is built: there is no server any more.
kill "$server"
server=
for name in "$@"; do nix_ build --no-link "path:$work/flake#$name"; done

# What a node is not made from changes nothing, and what it is made from does.
derivation() { nix_ eval --raw "path:$work/flake#$1.drvPath"; }
before=$(derivation "$1")
echo >>"$work/flake/README.md"
echo >>"$work/flake/recipes/checks/tvm-wheel/recipe.toml"
[ "$(derivation "$1")" = "$before" ] || fail "a change of README.md and of another recipe changes $1"
file=$(python3 -c 'import json, sys; print(json.load(open("nix/plan.json"))["nodes"][sys.argv[1]]["files"][-1])' "$1")
echo >>"$work/flake/$file"
[ "$(derivation "$1")" != "$before" ] || fail "a change of $file does not change $1"
