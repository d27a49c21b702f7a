#!/usr/bin/env bash
# What action.yml runs, from the repository of whoever uses it. Variables are its inputs.
set -euo pipefail
here=$(pwd)
cd "$ACTION_PATH"
bash ci/prepare.sh
backend=()
if [ -n "${BACKEND:-}" ]; then backend=(--backend "$BACKEND"); fi
directory=
if [ -n "${RELEASE:-}" ]; then
    cargo xtask release "$RELEASE" "${backend[@]}"
    directory=$ACTION_PATH/dist/$RELEASE
fi
if [ -n "${VERIFY:-}" ]; then
    # A path of the caller's.
    case $VERIFY in /*) directory=$VERIFY ;; *) directory=$here/$VERIFY ;; esac
    cargo xtask verify "$directory"
fi
if [ -n "${MODEL:-}" ]; then
    case $MODEL in
        */*@*) bash ci/convert-model.sh && directory=$ACTION_PATH/dist/model ;;
        *) echo "model: expected OWNER/NAME@REVISION" >&2; exit 2 ;;
    esac
fi
if [ -z "$directory" ]; then
    echo "give one of release, verify and model" >&2
    exit 2
fi
echo "directory=$directory" >>"$GITHUB_OUTPUT"
if [ -e "$directory/release.json" ]; then
    echo "digest=$(sha256sum "$directory/release.json" | cut -d ' ' -f 1)" >>"$GITHUB_OUTPUT"
fi
