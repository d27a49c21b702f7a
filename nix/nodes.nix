# Every node of nix/plan.json as a derivation, and the releases. A node is built by the program, as everywhere: it assembles
# the environment from Debian's packages, and runs the action by bubblewrap, here inside of Nix's sandbox, which has to
# allow user namespaces.
{ lib, runCommand, inputs, xtask }:
let
  plan = builtins.fromJSON (builtins.readFile ./plan.json);

  # The named nodes and all that they are built from.
  closure =
    names:
    lib.unique (builtins.concatMap (name: closure plan.nodes.${name}.dependencies ++ [ name ]) names);

  # A checkout of these files alone, so that a change of another one changes nothing.
  checkout =
    name: files:
    let
      above =
        path: if dirOf path == "." then [ ] else [ (dirOf path) ] ++ above (dirOf path);
      kept = lib.genAttrs (files ++ builtins.concatMap above files) (_: null);
      root = toString ../.;
    in
    builtins.path {
      name = "mlc-repro-files-${name}";
      path = ../.;
      filter = path: _: kept ? ${lib.removePrefix "${root}/" (toString path)};
    };

  # Runs the program for some nodes, with the results of others in its store.
  run =
    {
      name,
      nodes,
      dependencies,
      script,
      files ? [ ],
      vendored ? null,
      outputs ? [ "out" ],
    }:
    let
      all = closure nodes;
      of = attribute: lib.unique (builtins.concatMap (node: plan.nodes.${node}.${attribute}) all);
      environments = lib.unique (map (node: plan.nodes.${node}.environment) all);
      ownFiles =
        of "files"
        ++ map (environment: "containers/${environment}.lock") environments
        ++ [
          "containers/sandbox.lock"
          "containers/sandbox.toml"
        ];
    in
    runCommand name
      {
        inherit outputs;
        source = checkout name (files ++ ownFiles);
        # All nodes have this lock in common, and each takes a part of it.
        inputsLock = inputs.selected ../recipes/inputs.lock (of "inputs");
        resultsOfOthers = map (dependency: derivations.${dependency}.results) dependencies;
        passAsFile = [ "inputsLock" ];
        nativeBuildInputs = [ xtask ];
        options = "--offline" + (if vendored == null then "" else " --vendored ${vendored}");
      }
      ''
        export HOME=$NIX_BUILD_TOP MLC_REPRO_STORE=$NIX_BUILD_TOP/store
        cp -R "$source" checkout
        chmod -R u+w checkout
        cd checkout
        cp "$inputsLockPath" recipes/inputs.lock
        mkdir -p releases
        for other in $resultsOfOthers; do
          xtask --quiet store import "$other/results.tar" --name nix
        done
        options="$options --jobs $NIX_BUILD_CORES"
        ${script}
      '';

  input =
    name:
    lib.findFirst (input: input.name == name) {
      inherit name;
      kind = "pending";
      sha256 = name;
    } (inputs.locked ../recipes/inputs.lock);
  packages = environment: inputs.locked (../containers + "/${environment}.lock");

  derivations = builtins.mapAttrs (
    name: node:
    run {
      inherit name;
      inherit (node) dependencies;
      nodes = [ name ];
      vendored = inputs.vendored name (
        map input node.inputs ++ packages node.environment ++ packages "sandbox"
      );
      outputs = [
        "out"
        "results"
      ];
      script = ''
        xtask --quiet build $options ${node.node} --output built
        mkdir "$out" "$results"
        cp -R built/*/. "$out"
        xtask --quiet store export $options ${node.node} --output "$results/results.tar"
      '';
    }
  ) plan.nodes;

  releases = lib.mapAttrs' (
    name: release:
    lib.nameValuePair "release-${name}" (run {
      name = "release-${name}";
      inherit (release) nodes files;
      dependencies = release.nodes;
      script = ''
        xtask release $options ${name} --output dist
        xtask verify dist/${name}
        cp -R dist/${name} "$out"
      '';
    })
  ) plan.releases;

  # `mlc4j` is `mlc4j-android`: there is no other.
  byRecipe = builtins.groupBy (
    name: builtins.head (lib.splitString "@" plan.nodes.${name}.node)
  ) (builtins.attrNames plan.nodes);
  short = builtins.mapAttrs (_: names: derivations.${builtins.head names}) (
    lib.filterAttrs (_: names: builtins.length names == 1) byRecipe
  );
in
short // derivations // releases
