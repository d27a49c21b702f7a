#!/usr/bin/env bash
# The job of one node: takes the results of others from results/*.tar, builds, and leaves its own in results/NAME.tar.
#
# usage: build-node.sh RECIPE@TARGET NAME
#
# XTASK is the program [default: program/xtask, which the job `program` has built]. MLC_REPRO_CACHE, the address of a shared cache
# (docs/remote.md), has the node compiled only where it lacks it; with MLC_REPRO_CACHE_TOKEN, a token that may write there, it is
# given what was compiled. MLC_REPRO_CACHE_UPLOAD=true gives it without a token.
set -euo pipefail
node=$1 name=$2
xtask=${XTASK:-program/xtask}
# What another service's job has kept carries no modes.
if [ -z "${XTASK:-}" ]; then chmod +x "$xtask"; fi
options=()
# A variable of the service that was never given is set and empty.
if [ -z "${MLC_REPRO_CACHE:-}" ]; then
    unset MLC_REPRO_CACHE
else
    if [ -n "${MLC_REPRO_CACHE_TOKEN:-}" ]; then
        headers=$(mktemp)
        trap 'rm -f "$headers"' EXIT
        printf 'authorization: Bearer %s\n' "$MLC_REPRO_CACHE_TOKEN" >"$headers"
        options+=(--remote-header-file "$headers")
    fi
    if [ -n "${MLC_REPRO_CACHE_TOKEN:-}${MLC_REPRO_CACHE_UPLOAD:-}" ]; then options+=(--cache-upload); fi
fi
# What is built sees no token.
unset MLC_REPRO_CACHE_TOKEN
mkdir -p results
# Those of its dependencies, and its own where the service has kept it from an earlier pipeline.
for file in results/*.tar; do
    if [ -e "$file" ]; then
        "$xtask" store import "$file" --name ci
    fi
done
"$xtask" build "$node" ${options[@]+"${options[@]}"}
"$xtask" store export "$node" --output "results/$name.tar"
