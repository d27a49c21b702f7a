#!/usr/bin/env bash
# Converts a model of a hub, and checks the result, in dist/model.
#
# MODEL is OWNER/NAME@REVISION; QUANTIZATION and TEMPLATE are names; HF_TOKEN is needed where the hub asks for one.
set -euo pipefail
name=${MODEL##*/}
name=${name%%@*}
if [ -z "${HF_TOKEN:-}" ]; then unset HF_TOKEN; fi
cargo xtask model fetch "$MODEL"
cargo xtask model convert "$name" --quantization "$QUANTIZATION" --conversation-template "$TEMPLATE" --output dist/model
cargo xtask model verify dist/model
