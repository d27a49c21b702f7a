#!/bin/bash
# Writes a small project: two recipes in the repository's environment `sandbox`, of which one needs the other, and the release `small`.
#
#   tests/signatures/small_project.sh DIR
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"/{containers,releases,recipes/packages/{part,whole}}
cp "$repository"/containers/{common.toml,sandbox.toml,sandbox.lock} "$1/containers/"
cd "$1"
echo 'input = []' > recipes/inputs.toml
printf '%s\n\nversion = 1\ninput = []\n' "$(head -1 "$repository/recipes/inputs.lock")" > recipes/inputs.lock
recipe() { # NAME, DEPENDENCIES
    printf 'name = "%s"\nversion = "1"\nlicense = "MIT"\n[[target]]\ntriple = "x86_64-unknown-linux-gnu"\n' "$1"
    printf 'environment = "sandbox"\ndependencies = [%s]\n' "$2"
}
recipe part '' > recipes/packages/part/recipe.toml
recipe whole '"part"' > recipes/packages/whole/recipe.toml
cat > recipes/packages/part/build.sh <<'EOF'
mkdir /build/out/licenses
echo MIT > /build/out/licenses/LICENSE
seq 100000 > /build/out/part.txt
EOF
cat > recipes/packages/whole/build.sh <<'EOF'
mkdir -p /build/out/{bin,licenses}
echo MIT > /build/out/licenses/LICENSE
printf '#!/bin/sh\necho hello\n' > /build/out/bin/hello
chmod 755 /build/out/bin/hello
# What a build can see of its machine, as far as it must not differ.
{ id; umask; pwd; date +%Z; (unset JOBS; env | sort); sha256sum /build/src/dependencies/part/part.txt; } > /build/out/seen
EOF
cat > releases/small.toml <<'EOF'
name = "small"
[[artifact]]
recipe = "part"
targets = ["x86_64-unknown-linux-gnu"]
[[artifact]]
recipe = "whole"
targets = ["x86_64-unknown-linux-gnu"]
EOF
