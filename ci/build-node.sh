#!/usr/bin/env bash
# The job of one node: takes the results of others from results/*.tar, builds, and leaves its own in results/NAME.tar.
#
# usage: build-node.sh RECIPE@TARGET NAME
#
# XTASK is the program [default: program/xtask, which the job `program` has built].
set -euo pipefail
node=$1 name=$2
xtask=${XTASK:-program/xtask}
# What another service's job has kept carries no modes.
if [ -z "${XTASK:-}" ]; then chmod +x "$xtask"; fi
mkdir -p results
# Those of its dependencies, and its own where the service has kept it from an earlier pipeline.
for file in results/*.tar; do
    if [ -e "$file" ]; then
        "$xtask" store import "$file" --name ci
    fi
done
"$xtask" build "$node"
"$xtask" store export "$node" --output "results/$name.tar"
