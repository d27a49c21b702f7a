# Locked inputs, each a fetch of its own whose result is fixed by the SHA-256 of its lock.
#
# Hashed mirrors are asked first (nixpkgs' fetchurl; NIX_HASHED_MIRRORS names some): a server of a directory that
# `cargo xtask vendor` wrote is one.
{ lib, fetchurl, fetchPypi, fetchCrate, runCommand }:
let
  separator = "\n[[input]]\n";

  # Names of the Nix store may not have all letters that versions of Debian have.
  at =
    input: urls:
    fetchurl {
      inherit urls;
      inherit (input) sha256;
      name = "mlc-repro-input-${builtins.substring 0 16 input.sha256}";
    };

  # Where nixpkgs has no address for a kind of input, a hashed mirror has to have it.
  byHash = input: at input [ "mirror://mlc-repro/sha256/${input.sha256}" ];

  # `fetchPypi` puts the name of a wheel together from its parts.
  wheel =
    input:
    let
      part = builtins.elemAt (lib.splitString "-" (lib.removeSuffix ".whl" input.file));
    in
    fetchPypi {
      format = "wheel";
      pname = part 0;
      inherit (input) version sha256;
      dist = part 2;
      python = part 2;
      abi = part 3;
      platform = part 4;
    };

  kinds = {
    debian = input: at input [ "mirror://debian/${input.pool}" ];
    debian-source = kinds.debian;
    https = input: at input input.urls;
    pypi =
      input:
      if lib.hasSuffix ".whl" input.file then
        wheel input
      else
        at input [ "mirror://pypi/${builtins.substring 0 1 input.package}/${input.package}/${input.file}" ];
    crate =
      input:
      fetchCrate {
        pname = input.package;
        inherit (input) version sha256;
        unpack = false;
      };
    # Sets of crates, packed by `cargo xtask fetch`.
    cargo = byHash;
    npm = byHash;
    git = byHash;
    # Nobody knows its digest yet. What needs it can be described, and not be built.
    pending =
      input:
      runCommand "mlc-repro-pending-${input.name}" { } ''
        echo "the input ${input.name} is pending: cargo xtask lock update inputs locks it where its address answers" >&2
        exit 1
      '';
  };

  fetch = input: kinds.${input.kind} input;
in
{
  # The inputs of a lock.
  locked = file: (builtins.fromTOML (builtins.readFile file)).input;

  # The text of a lock with the inputs of these names alone.
  selected =
    file: names:
    let
      parts = lib.splitString separator (builtins.readFile file);
      nameOf = part: builtins.elemAt (lib.splitString "\"" part) 1;
      isSelected = part: builtins.elem (nameOf part) names;
    in
    builtins.concatStringsSep separator (
      [ (builtins.head parts) ] ++ builtins.filter isSelected (builtins.tail parts)
    );

  # Inputs in a directory, as `cargo xtask vendor` writes it.
  vendored =
    name: inputs:
    let
      # Some packages are in two locks.
      bySha256 = builtins.listToAttrs (map (input: lib.nameValuePair input.sha256 (fetch input)) inputs);
    in
    runCommand "mlc-repro-inputs-${name}"
      {
        list = lib.concatMapStrings (sha256: "${sha256} ${bySha256.${sha256}}\n") (
          builtins.attrNames bySha256
        );
        passAsFile = [ "list" ];
      }
      ''
        mkdir -p "$out/sha256"
        while read -r sha256 path; do ln -s "$path" "$out/sha256/$sha256"; done <"$listPath"
      '';
}
