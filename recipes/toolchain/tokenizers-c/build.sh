# Builds Hugging Face's tokenizers with the C functions of tokenizers-cpp, and Rust's standard library with it.
source=/build/src/mlc-llm/3rdparty/tokenizers-cpp/rust
. /build/src/build.sh

check_ndk
readonly tools=$ndk/toolchains/llvm/prebuilt/linux-x86_64/bin
# Cargo writes beside a manifest, and upstream has no lock.
mkdir -p rust cargo
cp -r --no-preserve=mode "$source/." rust/
cp "$source_root/Cargo.lock" rust/Cargo.lock
cat >cargo/config.toml <<END
[source.crates-io]
replace-with = "locked"
[source.locked]
directory = "$source_root/crates"
END
# Some of the crates hold C and C++.
for language in '' ++; do
    printf '#!/bin/sh\nexec "%s" --target=%s "$@"\n' "$tools/clang$language" "$TARGET$android_api" >"clang$language"
    chmod 755 "clang$language"
done
readonly triple=${TARGET//-/_}
declare -x "CC_$triple=$PWD/clang" "CXX_$triple=$PWD/clang++" "AR_$triple=$tools/llvm-ar"
declare -x "CFLAGS_$triple=$compile_flags -DANDROID -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2"
declare -x "CXXFLAGS_$triple=$compile_flags -DANDROID -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2"
declare -x "CARGO_TARGET_${triple^^}_LINKER=$PWD/clang" CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=gcc
export CARGO_HOME=$PWD/cargo CARGO_TARGET_DIR=$PWD/target HOST_CC=gcc HOST_CXX=gcc
# A panic ends the process either way: it can't cross the C functions. One unit of code generation: none depends on the machine.
export CARGO_PROFILE_RELEASE_PANIC=abort CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
export RUSTFLAGS="--remap-path-prefix=$source_root=. --remap-path-prefix=$PWD=. --remap-path-prefix=/usr/src=."
# -Zbuild-std is for nightly compilers, unless the compiler is told to take it; Debian has one version, and it is locked.
RUSTC_BOOTSTRAP=1 cargo build --manifest-path rust/Cargo.toml --release --locked --offline --target "$TARGET" \
    -Zbuild-std=std,panic_abort -j "${JOBS:-$(nproc)}"

install -D -m 644 "target/$TARGET/release/libtokenizers_c.a" "$out/lib/libtokenizers_c.a"
install_licence /build/src/mlc-llm/3rdparty/tokenizers-cpp/LICENSE tokenizers-cpp/LICENSE
install_licence /usr/share/doc/rustc/copyright rust/copyright
# The licences of all crates; some are for other systems and not contained.
(cd "$source_root/crates" && find . -mindepth 2 -maxdepth 2 -type f -iname '*licen[cs]e*' -o -mindepth 2 -maxdepth 2 -type f -iname 'copying*') |
    LC_ALL=C sort | while IFS= read -r file; do
    install_licence "$source_root/crates/$file" "crates/${file#./}"
done
no_build_paths
