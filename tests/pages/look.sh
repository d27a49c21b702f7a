#!/bin/bash
# Pages as people see them: a release that is signed, a rebuild that is the same, one that differs, and two releases compared, in headless
# Chromium at two widths, light and dark, and as paper. axe-core looks at each (WCAG 2.2 A and AA, best practice), and no page is wider
# than the window. Pictures are left to be looked at.
#
#   tests/pages/look.sh XTASK OUT [RELEASE]      (needs Node and Debian's chromium; RELEASE is a further release, without locks)
#
# Takes about two minutes, and downloads the packages of the environment `sandbox` (10 MB) and two of npm's, so continuous integration has
# the structure of pages alone (xtask/release/src/page/tests.rs).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
xtask=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
release=${3:+$(realpath "$3")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MLC_REPRO_STORE=$work/store
mkdir "$work/pages"

"$here/../signatures/small_project.sh" "$work/small"
cd "$work/small"
"$xtask" -q release small --backend sandbox
"$xtask" attest keygen alice --no-passphrase
"$xtask" -q attest dist/small --key alice.pem
"$xtask" -q report dist/small -o "$work/pages/release.html"
"$xtask" -q verify --rebuild dist/small --report "$work/same"
mv "$work/same/report.html" "$work/pages/rebuild-same.html"

# A build that says when it ran, and where.
"$here/../signatures/small_project.sh" "$work/other"
cd "$work/other"
cat >> recipes/packages/whole/build.sh <<'SH'
date -u +%Y-%m-%dT%H:%M:%SZ > /build/out/when.txt
printf '{"built": "%s", "host": "%s", "jobs": ["%s"]}\n' "$(date -u +%FT%TZ)" "$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')" "$$" > /build/out/facts.json
head -c 3000 /dev/urandom > /build/out/noise
SH
"$xtask" -q release small --backend sandbox
if "$xtask" -q verify --rebuild dist/small --report "$work/differs" > "$work/log" 2>&1; then
    echo "WRONG a build that says when it ran was built again to the same bytes"
    exit 1
fi
mv "$work/differs/report.html" "$work/pages/rebuild-differs.html"
"$xtask" -q diff "$work/small/dist/small" dist/small --report "$work/compared" > "$work/log" 2>&1 || [ $? = 1 ]
mv "$work/compared/report.html" "$work/pages/comparison.html"
# Damaged: the page of a release that has problems.
rm dist/small/SHA256SUMS
echo more > dist/small/more
"$xtask" -q report dist/small -o "$work/pages/release-damaged.html" > "$work/log" 2>&1 || [ $? = 1 ]
if [ -n "$release" ]; then
    "$xtask" -q report "$release" --no-locks -o "$work/pages/release-given.html"
fi

cd "$work"
npm install --silent --no-audit --no-fund playwright-core@1.65.1 axe-core@4.14.1 > /dev/null
cp "$here/look.mjs" .
node look.mjs "$(command -v chromium)" "$out" pages/*.html
