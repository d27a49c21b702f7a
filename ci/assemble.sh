#!/usr/bin/env bash
# The last job: a release of what all the others have built, in dist/NAME, verified.
#
# usage: assemble.sh NAME
set -euo pipefail
release=$1
xtask=${XTASK:-program/xtask}
if [ -z "${XTASK:-}" ]; then chmod +x "$xtask"; fi
for file in results/*.tar; do
    "$xtask" store import "$file" --name ci
done
"$xtask" release "$release"
"$xtask" verify "dist/$release"
