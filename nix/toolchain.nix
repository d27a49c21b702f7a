# The Rust of rust-toolchain.toml, as its makers build it: nixpkgs has an older one. The hash is that of the release's channel
# manifest (channel-rust-1.95.0.toml, package `rust`); another version in rust-toolchain.toml needs another one here.
{ lib, stdenv, fetchurl, autoPatchelfHook, zlib }:
let
  version = (builtins.fromTOML (builtins.readFile ../rust-toolchain.toml)).toolchain.channel;
  hashes."1.95.0" = "2e0338f18ecbaa4a0f631b9e80e8b8e26bb6fe77dd5454fba8a70cf96c1e84a1";
in
stdenv.mkDerivation {
  pname = "rust";
  inherit version;
  src = fetchurl {
    url = "https://static.rust-lang.org/dist/rust-${version}-x86_64-unknown-linux-gnu.tar.xz";
    sha256 = hashes.${version} or (throw "nix/toolchain.nix has no hash for Rust ${version}");
  };
  nativeBuildInputs = [ autoPatchelfHook ];
  buildInputs = [ stdenv.cc.cc.lib zlib ];
  installPhase = ''
    patchShebangs install.sh
    ./install.sh --prefix="$out" --disable-ldconfig --without=rust-docs,rust-docs-json-preview
  '';
  dontStrip = true;
  meta.platforms = [ "x86_64-linux" ];
}
