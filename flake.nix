# The Nix entry: the program, every artifact and release as a derivation, a shell to work on it, and checks.
{
  description = "Reproducible, content-addressed builds of the TVM and MLC-LLM toolchain";

  # nixos-25.05; flake.lock pins the same revision with its NAR hash.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/ac62194c3917d5f474c1a844b6fd6da2db95077d";

  outputs =
    { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};
      toolchain = pkgs.callPackage ./nix/toolchain.nix { };
      xtask = pkgs.callPackage ./nix/xtask.nix { inherit toolchain; };
      inputs = pkgs.callPackage ./nix/inputs.nix { };
      nodes = pkgs.callPackage ./nix/nodes.nix { inherit inputs xtask; };
    in
    {
      packages.${system} = nodes // {
        inherit xtask;
        default = xtask;
      };
      devShells.${system}.default = pkgs.callPackage ./nix/shell.nix { inherit toolchain; };
      checks.${system} = import ./nix/checks.nix { inherit pkgs xtask; };
      formatter.${system} = pkgs.nixfmt-rfc-style;
    };
}
