#!/usr/bin/env bash
# Builds a release that is in dist/NAME a second time, as another user, in another directory, in containers, and compares.
#
# usage: second-builder.sh NAME
set -euo pipefail
release=$1
user=second
there=/srv/a-second-builder
if ! id "$user" >/dev/null 2>&1; then
    sudo useradd --create-home --groups docker "$user"
fi
sudo mkdir -p "$there"
sudo cp -R . "$there/checkout"
sudo chown -R "$user" "$there"
# Its own store and target directory; the toolchain is the first one's.
sudo --user "$user" --set-home env \
    PATH="$PATH" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" CARGO_HOME="$there/cargo" CARGO_TARGET_DIR="$there/target" \
    MLC_REPRO_STORE="$there/store" MLC_REPRO_DEBIAN_MIRROR="${MLC_REPRO_DEBIAN_MIRROR:-}" \
    bash -c "umask 077 && cd '$there/checkout' && cargo xtask verify --rebuild --backend docker 'dist/$release'"
