#!/usr/bin/env bash
# Runs every job of a release's matrix on this machine, one after the other, each in a store of its own that has nothing but what
# its `needs` hand on; then assembles the release, in another. With a release made at once as second argument, both are compared.
#
# usage: run-matrix.sh RELEASE [DIRECTORY]
#
# XTASK is the program [default: target/tool/xtask]. MLC_REPRO_MIRROR, the address of a server with what `cargo xtask vendor`
# writes, saves downloads.
set -euo pipefail
cd "$(dirname "$0")/.."
release=$1 other=${2:+$(realpath "$2")}
export XTASK=${XTASK:-$PWD/target/tool/xtask}
work=$(mktemp -d)
end() {
    # What builds have made read-only.
    chmod -R u+w "$work"
    rm -rf "$work"
}
trap end EXIT
mkdir "$work/checkout"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --no-dereference -t "$work/checkout"
cd "$work/checkout"

# A line for each job: name, node, needs.
"$XTASK" matrix "$release" --format json >"$work/matrix.json"
python3 - "$work/matrix.json" >"$work/jobs" <<'PYTHON'
import json, sys

for job in sorted(json.load(open(sys.argv[1])), key=lambda job: job["level"]):
    print(job["name"], job["recipe"] + "@" + job["target"], *job["needs"])
PYTHON

# in_store NAME COMMAND…: in an empty store, in a directory with the results that `needs` names.
in_store() {
    mkdir -p "$work/store"
    MLC_REPRO_STORE=$work/store "${@:2}" </dev/null >"$work/log" 2>&1 || {
        tail -n 40 "$work/log"
        echo "$1 failed" >&2
        return 1
    }
    chmod -R u+w "$work/store"
    rm -rf "$work/store"
}

mkdir "$work/all"
while read -r name node needs; do
    rm -rf results
    mkdir results
    for need in $needs; do ln "$work/all/$need.tar" results/; done
    in_store "$name" bash ci/build-node.sh "$node" "$name"
    ln "results/$name.tar" "$work/all/"
    echo "$name: $(stat --format %s "results/$name.tar") bytes handed on"
done <"$work/jobs"

rm -rf results
mkdir results
ln "$work"/all/*.tar results/
in_store assemble bash ci/assemble.sh "$release"
if [ -n "$other" ]; then
    # What says how a release was made differs: its results come from other stores.
    archives() { (cd "$1" && grep -Ev ' (release\.json|bom\.cdx\.json|provenance/.*)$' SHA256SUMS); }
    diff <(archives "$other") <(archives "dist/$release")
    echo "$release: the $(archives "$other" | wc -l) files of $other"
fi
