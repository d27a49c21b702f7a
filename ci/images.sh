#!/usr/bin/env bash
# Writes environments as container images into images/NAME.oci.tar, and what they are into images/images.json: for each the
# name and the digests that `cargo xtask environment export --json` prints.
#
# usage: images.sh NAME…
set -euo pipefail
xtask=${XTASK:-program/xtask}
if [ -z "${XTASK:-}" ]; then chmod +x "$xtask"; fi
mkdir -p images
for name in "$@"; do
    "$xtask" environment export "$name" --format oci --output "images/$name.oci.tar" --json
done | python3 -c '
import json, sys
text, decoder, images = sys.stdin.read(), json.JSONDecoder(), []
while text.strip():
    image, end = decoder.raw_decode(text.lstrip())
    text = text.lstrip()[end:]
    images.append(image)
json.dump(images, sys.stdout, indent=2)
print()
' >images/images.json
# What .devcontainer names is one of them, or of an older state of its environment.
for image in $(sed -n 's/.*"image": "\(.*\)".*/\1/p' .devcontainer/devcontainer.json); do
    name=${image%:*}
    if grep -q "\"$name:" images/images.json && ! grep -q "\"$image\"" images/images.json; then
        echo ".devcontainer/devcontainer.json names $image, which is not the image of this checkout" >&2
        exit 1
    fi
done
