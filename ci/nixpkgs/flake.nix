# Stands in for nixpkgs where its snapshot can't be had: the few functions that this repository's flake uses, so that the
# flake's own code runs for real. ci/check-flake.sh puts beside it what the derivations run (`tools/`: busybox, the program
# and its libraries) and where inputs come from (`mirror`: an address that has them as `cargo xtask vendor` lays them out).
{
  outputs =
    { self }:
    let
      system = "x86_64-linux";
      tools = ./tools;
      mirror = builtins.head (builtins.split "\n" (builtins.readFile ./mirror));

      run =
        name: attributes: script:
        derivation (
          {
            inherit name system;
            builder = "${tools}/bin/busybox";
            args = [
              "sh"
              "-euc"
              ''
                PATH=${tools}/bin
                for package in ''${nativeBuildInputs:-}; do PATH=$PATH:$package/bin; done
                ${script}
              ''
            ];
          }
          // attributes
        );

      lib = rec {
        cleanSource = path: path;
        licenses = {
          mit = "MIT";
          asl20 = "Apache-2.0";
        };
        cleanSourceWith = { src, filter }: builtins.filterSource filter src;
        hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
        removePrefix =
          prefix: text:
          if hasPrefix prefix text then
            builtins.substring (builtins.stringLength prefix) (builtins.stringLength text) text
          else
            text;
        start = suffix: text: builtins.stringLength text - builtins.stringLength suffix;
        hasSuffix =
          suffix: text: start suffix text >= 0 && builtins.substring (start suffix text) (-1) text == suffix;
        removeSuffix =
          suffix: text: if hasSuffix suffix text then builtins.substring 0 (start suffix text) text else text;
        escapeRegex = builtins.replaceStrings [ "[" "." ] [ "\\[" "\\." ];
        splitString =
          separator: text: builtins.filter builtins.isString (builtins.split (escapeRegex separator) text);
        concatMapStrings = make: list: builtins.concatStringsSep "" (map make list);
        nameValuePair = name: value: { inherit name value; };
        unique = builtins.foldl' (known: one: if builtins.elem one known then known else known ++ [ one ]) [ ];
        genAttrs = names: make: builtins.listToAttrs (map (name: nameValuePair name (make name)) names);
        mapAttrs' =
          make: set: builtins.listToAttrs (map (name: make name set.${name}) (builtins.attrNames set));
        filterAttrs =
          keep: set:
          genAttrs (builtins.filter (name: keep name set.${name}) (builtins.attrNames set)) (name: set.${name});
        findFirst =
          is: default: list:
          let
            found = builtins.filter is list;
          in
          if found == [ ] then default else builtins.head found;
        optionals = condition: list: if condition then list else [ ];
      };

      fetchurl =
        {
          sha256,
          name ? "file",
          ...
        }:
        import <nix/fetchurl.nix> {
          url = "${mirror}/sha256/${sha256}";
          inherit sha256 name;
        };

      # By its own loader: there is no other in Nix's sandbox.
      program = run "xtask" { } ''
        mkdir -p "$out/bin"
        {
          echo "#!${tools}/bin/busybox sh"
          echo 'exec ${tools}/lib/ld-linux-x86-64.so.2 --library-path ${tools}/lib ${tools}/lib/xtask "$@"'
        } >"$out/bin/xtask"
        chmod 755 "$out/bin/xtask"
      '';

      absent = name: run name { } "echo ${name} is not in this stand-in; exit 1";

      pkgs = rec {
        inherit lib fetchurl;
        runCommand = run;
        fetchPypi = { sha256, ... }: fetchurl { inherit sha256; };
        fetchCrate = fetchPypi;
        makeRustPlatform = _: { buildRustPackage = _: program; };
        mkShell = _: absent "shell";
        stdenv = {
          mkDerivation = attributes: absent attributes.pname;
          cc.cc.lib = absent "cc";
        };
        llvmPackages_18 = {
          clang = absent "clang";
          lld = absent "lld";
          llvm = absent "llvm";
        };
        autoPatchelfHook = absent "auto-patchelf";
        zlib = absent "zlib";
        cmake = absent "cmake";
        ninja = absent "ninja";
        jdk21_headless = absent "jdk";
        wineWow64Packages.stable = absent "wine";
        nix = absent "nix";
        skopeo = absent "skopeo";
        nixfmt-rfc-style = absent "nixfmt";
        callPackage =
          file: more:
          let
            function = import file;
          in
          function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // more);
      };
    in
    {
      legacyPackages.${system} = pkgs;
    };
}
