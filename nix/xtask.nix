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
  # The crates and no more: a change of a recipe or a document changes nothing in the program.
  src = lib.cleanSourceWith {
    src = ../.;
    filter =
      path: _:
      builtins.elem (builtins.head (lib.splitString "/" (lib.removePrefix "${toString ../.}/" path))) [
        "Cargo.lock"
        "Cargo.toml"
        "xtask"
      ];
  };
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
