#!/bin/bash
# Checks a model's signature and the checksums' after both went through a registry, by the programs that they are for: model_signing 1.1.1
# and minisign. The release is that of the test `the_signature_of_a_model_comes_back_with_it`.
#
#   tests/signatures/model_in_registry.sh END_TO_END
#
# END_TO_END is the program of the tests (`cargo test --no-run --test end_to_end` names it). Installs nothing: packages are unpacked in a
# temporary directory.
set -euo pipefail
tests=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/kept"
(cd "$(dirname "$0")/../../xtask/cli" && MLC_REPRO_KEEP_SIGNED=$work/kept "$tests" the_signature_of_a_model_comes_back_with_it)
cd "$work"
python3 -m venv venv
venv/bin/pip install -q model-signing==1.1.1 pyOpenSSL
apt-get -qq download minisign
dpkg-deb -x minisign_*.deb debian
release=kept/fetched
model=$release/tiny-q4f16_1
check() { # KEY: the model by its signature
    venv/bin/model_signing verify key "$model" --signature "$release/provenance/tiny-q4f16_1.sig" --public_key "$1"
}
check kept/m.pub
debian/usr/bin/minisign -V -p kept/a.minisign.pub -m "$release/SHA256SUMS"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkey -pubout -out stranger.pub
if check stranger.pub; then echo "model_signing takes a stranger's key"; exit 1; fi
echo >> "$model/tensor-cache.json"
if check kept/m.pub; then echo "model_signing takes a changed file"; exit 1; fi
echo >> "$release/SHA256SUMS"
if debian/usr/bin/minisign -V -p kept/a.minisign.pub -m "$release/SHA256SUMS"; then echo "minisign takes changed checksums"; exit 1; fi
echo "all five came out as they should"
