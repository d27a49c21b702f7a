#!/bin/bash
# Two builders who share nothing satisfy a policy of two of two: root builds in containers, an ordinary user in the sandbox, each with a
# directory, store, downloads and key of its own.
#
#   tests/signatures/two_builders.sh XTASK      (as root; needs Debian's docker.io)
#
# Takes ten seconds to a minute, and each downloads the packages of the environment `sandbox` (10 MB), so continuous integration has it in parts
# alone: every backend gives the same bytes (tests/end_to_end/one_hash.rs), and keys are counted (xtask/release/src/provenance).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "run this as root: it builds as root and as nobody"; exit 2; }
work=$(mktemp -d)
engine=
stop() {
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT
chmod 755 "$work"
cp "$1" "$work/xtask"
chmod 755 "$work/xtask"
cd "$work"
# Two checkouts in different places.
"$here/small_project.sh" alice
mkdir -p elsewhere/deeper
"$here/small_project.sh" elsewhere/deeper/bob
chown -R 65534:65534 elsewhere

# An engine of this script's own, in mounts of its own, which changes nothing of the machine's network.
mkdir engine
unshare --mount dockerd --iptables=false --ip6tables=false --ip-forward=false --bridge=none --data-root "$work/engine/data" \
    --exec-root "$work/engine/exec" --pidfile "$work/engine/pid" -H "unix://$work/engine/docker.sock" >engine/log 2>&1 &
engine=$!
for _ in $(seq 600); do
    if docker --host "unix://$work/engine/docker.sock" version >/dev/null 2>&1; then break; fi
    kill -0 "$engine" 2>/dev/null || { tail -5 engine/log; exit 1; }
    sleep 0.2
done

alice() {
    (cd "$work/alice" && env MLC_REPRO_STORE="$work/alice-store" DOCKER_HOST="unix://$work/engine/docker.sock" \
        HOME="$work/alice" "$work/xtask" "$@")
}
bob() {
    (cd "$work/elsewhere/deeper/bob" && setpriv --reuid=65534 --regid=65534 --clear-groups env \
        MLC_REPRO_STORE="$work/elsewhere/store" HOME="$work/elsewhere" TZ=Asia/Kathmandu LC_ALL=de_DE.UTF-8 \
        sh -c 'umask 077; exec "$@"' sh "$work/xtask" "$@")
}

alice --jobs 2 release small --backend docker
bob --jobs 1 release small --backend sandbox
a=$work/alice/dist/small b=$work/elsewhere/deeper/bob/dist/small
diff -r "$a" "$b"
echo "root with docker, and user 65534 with the sandbox: the same $(find "$a" -type f | wc -l) files, byte for byte"
sha256sum "$a/release.json"

alice attest keygen alice --no-passphrase
bob attest keygen bob --no-passphrase
alice -q attest dist/small --key alice.pem
bob -q attest dist/small --key bob.pem
# A stranger takes both public keys and both directories.
mkdir stranger
cp alice/alice.pub elsewhere/deeper/bob/bob.pub stranger/
cp "$here/two_of_two.toml" stranger/policy.toml
policy=$work/stranger/policy.toml
for one in "$a" "$b"; do
    if alice -q verify "$one" --policy "$policy" > one.log 2>&1; then
        echo "WRONG one builder alone satisfies two of two"
        exit 1
    fi
    grep -c 'needs 2 keys' one.log > /dev/null
done
cp -r "$a" stranger/small
cp -r "$b" stranger/of-bob
alice attest --merge "$work/stranger/small" "$work/stranger/of-bob"
alice verify "$work/stranger/small" --policy "$policy"
# The same by collected signatures, as in a Git repository.
alice -q attest "$a" --key alice.pem --collect "$work/attestations" --builder alice
chmod -R a+rwX attestations
bob -q attest "$b" --key bob.pem --collect "$work/attestations" --builder bob
rm -rf stranger/plain
cp -r "$a" stranger/plain
rm -rf stranger/plain/provenance
alice -q verify "$work/stranger/plain" --policy "$policy" --attestations "$work/attestations"
echo "two of two: by merged and by collected signatures"
