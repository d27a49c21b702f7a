# An action as a derivation of its own kind: nothing of nixpkgs, every part a path of the store.
# Nix's sandbox is outside; inside it, `script` runs the same bubblewrap, on the same root, as the sandbox backend does.
{ tools, root, source, script, run }:
derivation {
  # Different for every run, so that a run is never taken from the store: what is cached is for our own store to say.
  name = "mlc-repro-${run}";
  system = "x86_64-linux";
  builder = "${builtins.storePath tools}/usr/lib64/ld-linux-x86-64.so.2";
  args = [
    "--library-path"
    "${builtins.storePath tools}/usr/lib/x86_64-linux-gnu"
    "${builtins.storePath tools}/usr/bin/bash"
    "-euc"
    script
  ];
  tools = builtins.storePath tools;
  root = builtins.storePath root;
  source = builtins.storePath source;
}
