# The program. Its dependencies are those of Cargo.lock, each checked by the hash that stands there.
{ lib, makeRustPlatform, toolchain }:
let
  platform = makeRustPlatform {
    cargo = toolchain;
    rustc = toolchain;
  };
in
platform.buildRustPackage {
  pname = "xtask";
  inherit ((builtins.fromTOML (builtins.readFile ../Cargo.toml)).workspace.package) version;
  # All of it: tables that stand beside the crates are compiled into the program.
  src = lib.cleanSource ../.;
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "--package=xtask" ];
  # Tests fetch packages and start engines; `cargo xtask ci` runs them.
  doCheck = false;
  meta = {
    description = "Drives reproducible builds of the TVM and MLC-LLM toolchain";
    license = with lib.licenses; [ mit asl20 ];
    mainProgram = "xtask";
    platforms = [ "x86_64-linux" ];
  };
}
