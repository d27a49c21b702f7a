# What `nix flake check` tries: the program starts, and its command line is described in full.
{ pkgs, xtask }:
{
  inherit xtask;
  help = pkgs.runCommand "xtask-help" { } ''
    ${xtask}/bin/xtask --version
    ${xtask}/bin/xtask man "$out"
    test -s "$out/xtask.1"
  '';
}
