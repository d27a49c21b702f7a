#!/bin/bash
# Checks what `attest`, `publish oci://` and `release` write by the tools of others, and that each of them refuses what it should:
# cosign 2.5, oras 1.2 and minisign 0.12 of Debian 13, minisign of this machine's own Debian, securesystemslib, in-toto-attestation,
# py-minisign, cyclonedx-python-lib and model-signing out of the Python package index, jq and OpenSSL; with Debian's docker-registry, and
# with a registry that has the referrers API, which Debian 13's Go compiles.
#
#   tests/signatures/other_tools.sh XTASK [RELEASE]
#
# XTASK is the program, RELEASE a release directory, of which a copy is signed; without one, that of small_project.sh is built.
# Installs nothing, and needs docker-registry: packages are unpacked in a temporary directory. Takes about four minutes, most of it
# for downloads and Go, so continuous integration runs a part of it alone (tests/end_to_end/oci.rs, provenance/others.rs). Prints a
# line for each check; the exit status is 0 when all of them came out as they should.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
xtask=$(realpath "$1")
release=${2:+$(realpath "$2")}
work=$(mktemp -d)
servers=()
stop() {
    for server in "${servers[@]}"; do kill "$server" 2>/dev/null || true; done
    rm -rf "$work"
}
trap stop EXIT
cd "$work"
if [ -z "$release" ]; then
    "$here/small_project.sh" project
    (cd project && MLC_REPRO_STORE=$work/store "$xtask" -q release small)
    release=$work/project/dist/small
fi

failed=0
count=0
check() { # accepts|refuses, name, command …
    local wanted=$1 name=$2
    shift 2
    count=$((count + 1))
    if "$@" >"$work/output" 2>&1; then local found=accepts; else local found=refuses; fi
    if [ "$found" = "$wanted" ]; then
        printf 'ok    %s %s\n' "$wanted" "$name"
    else
        printf 'WRONG %s should be: %s\n' "$wanted" "$name"
        sed 's/^/        /' "$work/output" | head -5
        failed=1
    fi
}

# --- the tools ---------------------------------------------------------------------------------------------------------------
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' | awk '$2 == "Debian" { print $1; exit }')
mkdir -p apt/lists/partial apt/cache/archives/partial apt/etc
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > apt/etc/sources.list
apt=(-o Dir::Etc::sourcelist="$work/apt/etc/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::Lists="$work/apt/lists"
     -o Dir::Cache="$work/apt/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User=root)
apt-get -qq "${apt[@]}" update
apt-get -qq "${apt[@]}" download cosign oras minisign golang-1.24-{go,src} golang-github-google-go-containerregistry-dev \
    golang-github-opencontainers-{go-digest,image-spec}-dev golang-github-klauspost-compress-dev \
    golang-github-docker-distribution-dev golang-github-containerd-stargz-snapshotter-dev golang-github-sirupsen-logrus-dev \
    golang-github-pkg-errors-dev golang-golang-x-{sync,sys}-dev
for package in *.deb; do dpkg-deb -x "$package" debian13; done
cosign=$work/debian13/usr/bin/cosign
oras=$work/debian13/usr/bin/oras
(cd "$here/referrers" && GO111MODULE=off GOPATH=$work/debian13/usr/share/gocode CGO_ENABLED=0 GOTOOLCHAIN=local GOCACHE=$work/go \
    "$work/debian13/usr/lib/go-1.24/bin/go" build -p 1 -o "$work/referrers" main.go)
minisigns=("$work/debian13/usr/bin/minisign")
rm -f ./*.deb
if apt-get -qq download minisign jq libjq1 libonig5 2>/dev/null; then
    for package in *.deb; do dpkg-deb -x "$package" own; done
    minisigns+=("$work/own/usr/bin/minisign")
fi
python3 -m venv venv
venv/bin/pip install -q 'securesystemslib[crypto]==1.6.0' in-toto-attestation==0.9.3 py-minisign==0.21.1 \
    'cyclonedx-python-lib[json-validation]==11.12.0' model-signing==1.1.1 pyOpenSSL

# --- two builders, a stranger, and a release with both signatures ---------------------------------------------------------------
for name in alice bob stranger; do "$xtask" -q attest keygen $name --no-passphrase; done
"$xtask" -q attest keygen model --model --no-passphrase
"$xtask" -q attest keygen other --model --no-passphrase
for name in a b; do cp -r "$release" $name; rm -rf "$name/provenance" "$name/SHA256SUMS.minisig"; done
"$xtask" -q attest a --key alice.pem --no-locks
"$xtask" -q attest b --key bob.minisign.key --no-locks
"$xtask" -q attest --merge a b

edit() { # FILE, Python over `j` (the envelope) and `p` (its payload as bytes); prints the changed envelope
    python3 - "$1" "$2" <<'PY'
import base64, json, sys
j = json.load(open(sys.argv[1])); p = base64.b64decode(j["payload"])
scope = {"j": j, "p": p, "base64": base64}
exec(sys.argv[2], scope)
print(json.dumps(j, separators=(",", ":")))
PY
}
flip='s = bytearray(base64.b64decode(j["signatures"][0]["sig"])); s[0] ^= 1; j["signatures"][0]["sig"] = base64.b64encode(bytes(s)).decode()'
flip_all='
for one in j["signatures"]:
    s = bytearray(base64.b64decode(one["sig"])); s[0] ^= 1; one["sig"] = base64.b64encode(bytes(s)).decode()'
other_payload='j["payload"] = base64.b64encode(p.replace(b"{", b"{ ", 1)).decode()'
other_type='j["payloadType"] = "application/json"'

# --- cosign -----------------------------------------------------------------------------------------------------------------------
blob() { # KEY ENVELOPE FILE
    HOME=$work "$cosign" verify-blob-attestation --key "$1" --signature "$2" --insecure-ignore-tlog=true --type slsaprovenance1 "$3"
}
cp a/provenance/release.intoto.jsonl release.intoto.jsonl
one=
for envelope in a/provenance/*.intoto.jsonl; do
    name=$(basename "$envelope" .intoto.jsonl)
    file=a/$name
    if [ "$name" = release ]; then file=a/release.json; fi
    if [ ! -f "$file" ]; then continue; fi
    if [ "$name" != release ]; then one=$name; fi
    for key in alice bob; do check accepts "cosign: $name with $key's key" blob $key.pub "$envelope" "$file"; done
    check refuses "cosign: $name with a stranger's key" blob stranger.pub "$envelope" "$file"
done
envelope=a/provenance/$one.intoto.jsonl
edit "$envelope" "$other_payload" > changed; check refuses "cosign: another payload" blob alice.pub changed "a/$one"
edit "$envelope" "$flip_all" > changed; check refuses "cosign: changed signatures" blob alice.pub changed "a/$one"
edit "$envelope" "$other_type" > changed; check refuses "cosign: another type" blob alice.pub changed "a/$one"
check refuses "cosign: another file" blob alice.pub "$envelope" a/verify.py
cat "$envelope" "$envelope" > changed; check refuses "cosign: two envelopes in a file" blob alice.pub changed "a/$one"

# --- registries: cosign and oras --------------------------------------------------------------------------------------------------
wait_for() { # ADDRESS
    for _ in $(seq 200); do
        if (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; then return; fi
        sleep 0.05
    done
    echo "no registry answers at $1"
    exit 1
}
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print("127.0.0.1:%d" % s.getsockname()[1])'; }
plain=$(free)
printf 'version: 0.1\nlog: { level: error }\nstorage: { filesystem: { rootdirectory: %s } }\nhttp: { addr: "%s" }\n' \
    "$work/registry" "$plain" > registry.yml
docker-registry serve registry.yml >registry.log 2>&1 &
servers+=($!)
referring=$(free)
./referrers "$referring" >referrers.log 2>&1 &
servers+=($!)
cat > discovered.py <<'PY'
import json, sys
kinds = sorted(it["artifactType"] for it in json.load(sys.stdin)["manifests"])
bom, envelope = "application/vnd.cyclonedx+json", "application/vnd.dsse.envelope.v1+json"
minisign = "application/vnd.mlc-repro.minisign.v1"
# What go-containerregistry says of all of them: the type of their configuration.
if sys.argv[2] == "go-containerregistry":
    bom = envelope = minisign = "application/vnd.oci.empty.v1+json"
sys.exit(kinds != sorted([bom, minisign] + [envelope] * int(sys.argv[1])))
PY
attestation() { # KEY REFERENCE [TYPE]
    HOME=$work "$cosign" verify-attestation --key "$1" --insecure-ignore-tlog=true --allow-http-registry \
        --type "${3:-slsaprovenance1}" "$2"
}
discover() { "$oras" discover --plain-http -o json "$1"; } # REFERENCE
discovered() { discover "$1" | python3 discovered.py "$(ls a/provenance/*.intoto.jsonl | wc -l)" "$2"; } # REFERENCE REGISTRY
released() { # DIRECTORY: the files of the release, all of them, and nothing else
    (cd "$1" && sha256sum -c --quiet --strict SHA256SUMS) &&
        diff -r --exclude=provenance --exclude=SHA256SUMS.minisig a "$1"
}
referrers() { # REFERENCE: the files of every referrer are those of the release
    local digest
    for digest in $(discover "$1" | python3 -c 'import json, sys; [print(it["digest"]) for it in json.load(sys.stdin)["manifests"]]'); do
        "$oras" pull --plain-http -o referrers-of "${1%@*}@$digest" || return 1
    done
    diff -r a/provenance referrers-of/provenance && cmp a/bom.cdx.json referrers-of/bom.cdx.json &&
        cmp a/SHA256SUMS.minisig referrers-of/SHA256SUMS.minisig
}
for host in "$plain" "$referring"; do
    wait_for "$host"
    if [ "$host" = "$plain" ]; then kind=docker-registry; else kind=go-containerregistry; fi
    predicted=$("$xtask" -q publish --dry-run "oci://$host/some/tvm:v1" a)
    published=$("$xtask" -q publish "oci://$host/some/tvm:v1" a)
    check accepts "$kind: the digest is known before" [ "$predicted" = "$published" ]
    check accepts "$kind: and the same the next time" \
        [ "$("$xtask" -q publish "oci://$host/some/tvm:v1" a)" = "$published" ]
    reference=${published#oci://}
    for key in alice bob; do
        check accepts "cosign, $kind: verify-attestation with $key's key" attestation $key.pub "$reference"
    done
    check accepts "cosign, $kind: by the tag" attestation alice.pub "$host/some/tvm:v1"
    check refuses "cosign, $kind: a stranger's key" attestation stranger.pub "$reference"
    check refuses "cosign, $kind: another type of statement" attestation alice.pub "$reference" cyclonedx
    # The attestations of this release at another artifact.
    cp a/verify.py other.py
    "$oras" push --plain-http "$host/some/tvm:other" other.py >/dev/null
    other=$("$oras" resolve --plain-http "$host/some/tvm:other")
    "$oras" tag --plain-http "$host/some/tvm:sha256-${reference#*@sha256:}.att" "${other/:/-}.att" >/dev/null
    check refuses "cosign, $kind: another artifact with these attestations" attestation alice.pub "$host/some/tvm@$other"
    check accepts "oras, $kind: discovers provenance and bill of materials" discovered "$reference" "$kind"
    check accepts "oras, $kind: pulls the release" "$oras" pull --plain-http -o "pulled-$kind" "$reference"
    check accepts "sha256sum, $kind: what oras pulled" released "pulled-$kind"
    rm -rf referrers-of
    check accepts "oras, $kind: pulls what refers to it" referrers "$reference"
    check accepts "fetch-release, $kind" "$xtask" -q fetch-release "$published" "fetched-$kind"
    check accepts "fetch-release, $kind: with all signatures" diff -r a "fetched-$kind"
    check accepts "$("${minisigns[0]}" -v | head -1), $kind: what was fetched" \
        "${minisigns[0]}" -V -p alice.minisign.pub -m "fetched-$kind/SHA256SUMS"
done

# --- CycloneDX ------------------------------------------------------------------------------------------------------------------------
cat > bom.py <<'PY'
import json, sys
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
path, change = sys.argv[1:]
bom = json.load(open(path))
exec(change)
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom))
if error:
    sys.exit(str(error))
Bom.from_json(bom).validate()
PY
bom() { "$work/venv/bin/python" bom.py a/bom.cdx.json "$1"; } # Python over `bom`
check accepts "cyclonedx-python-lib: strictly, and its references" bom ''
check refuses "cyclonedx-python-lib: a name that is a number" bom 'bom["metadata"]["component"]["name"] = 1'
check refuses "cyclonedx-python-lib: a field that it does not know" bom 'bom["more"] = 1'
check refuses "cyclonedx-python-lib: a reference to nowhere" bom 'bom["dependencies"][0]["dependsOn"] = ["nowhere"]'

# --- securesystemslib, in-toto ------------------------------------------------------------------------------------------------------
cat > dsse.py <<'PY'
import json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
path, threshold, *keys = sys.argv[1:]
keys = [SSlibKey.from_crypto(load_pem_public_key(open(key, "rb").read())) for key in keys]
found = Envelope.from_dict(json.load(open(path))).verify(keys, int(threshold))
sys.exit(0 if len(found) >= int(threshold) else 1)
PY
cat > statement.py <<'PY'
import base64, json, sys
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
for path in sys.argv[1:]:
    value = json.loads(base64.b64decode(json.load(open(path))["payload"]))
    Statement.copy_from_pb(json_format.ParseDict(value, statement_pb2.Statement())).validate()
    json_format.ParseDict(value["predicate"], provenance_pb2.Provenance())
PY
python=$work/venv/bin/python
check accepts "securesystemslib: 2 of 2" "$python" dsse.py "$envelope" 2 alice.pub bob.pub
check refuses "securesystemslib: 2 of 2, one signed" "$python" dsse.py "b/provenance/$one.intoto.jsonl" 2 alice.pub bob.pub
check refuses "securesystemslib: a stranger for one" "$python" dsse.py "$envelope" 2 alice.pub stranger.pub
edit "$envelope" "$other_payload" > changed; check refuses "securesystemslib: another payload" "$python" dsse.py changed 1 alice.pub bob.pub
edit "$envelope" "$flip" > changed; check refuses "securesystemslib: a changed signature" "$python" dsse.py changed 2 alice.pub bob.pub
edit "$envelope" "$other_type" > changed; check refuses "securesystemslib: another type" "$python" dsse.py changed 1 alice.pub bob.pub
check accepts "in-toto-attestation: all statements" "$python" statement.py a/provenance/*.intoto.jsonl

# --- minisign --------------------------------------------------------------------------------------------------------------------------
sed 's/release:/Release:/' a/SHA256SUMS.minisig > comment.minisig
sed '1s/.*/untrusted comment: anything/' a/SHA256SUMS.minisig > untrusted.minisig
sed '1s/^/0/' a/SHA256SUMS > changed-sums
for minisign in "${minisigns[@]}"; do
    version=$("$minisign" -v | head -1)
    check accepts "$version: SHA256SUMS" "$minisign" -V -p alice.minisign.pub -m a/SHA256SUMS
    check accepts "$version: another untrusted comment" "$minisign" -V -p alice.minisign.pub -x untrusted.minisig -m a/SHA256SUMS
    check refuses "$version: another trusted comment" "$minisign" -V -p alice.minisign.pub -x comment.minisig -m a/SHA256SUMS
    check refuses "$version: a stranger's key" "$minisign" -V -p stranger.minisign.pub -m a/SHA256SUMS
    check refuses "$version: another file" "$minisign" -V -p alice.minisign.pub -x a/SHA256SUMS.minisig -m changed-sums
    # Its own signature by our key, checked by itself; and a key of its own signs a release.
    check accepts "$version: signs with our key" "$minisign" -S -s alice.minisign.key -m changed-sums -x own.minisig
    check accepts "$version: checks that" "$minisign" -V -p alice.minisign.pub -x own.minisig -m changed-sums
    "$minisign" -G -f -W -p theirs.pub -s theirs.key >/dev/null
    rm -rf c; cp -r "$release" c; rm -rf c/provenance c/SHA256SUMS.minisig
    check accepts "$version: its key signs a release" "$xtask" -q attest c --key theirs.key --no-locks
    check accepts "$version: checks that" "$minisign" -V -p theirs.pub -m c/SHA256SUMS
    printf 'secret words\nsecret words\n' | "$minisign" -G -f -p locked.pub -s locked.key >/dev/null 2>&1
    rm -rf c; cp -r "$release" c; rm -rf c/provenance c/SHA256SUMS.minisig
    echo 'secret words' > passphrase
    check accepts "$version: its encrypted key signs a release" "$xtask" -q attest c --key locked.key --passphrase-file passphrase --no-locks
    check accepts "$version: checks that" "$minisign" -V -p locked.pub -m c/SHA256SUMS
    "$xtask" -q attest keygen ours --passphrase-file passphrase
    check accepts "$version: signs with our encrypted key" sh -c "echo 'secret words' | '$minisign' -S -s ours.minisign.key -m changed-sums -x own.minisig"
    check accepts "$version: checks that" "$minisign" -V -p ours.minisign.pub -x own.minisig -m changed-sums
    check accepts "openssl: reads our encrypted key" openssl pkey -in ours.pem -passin file:passphrase -noout
    rm -f ours.*
done
cat > mini.py <<'PY'
import sys, minisign
key, path, signature = sys.argv[1:]
minisign.PublicKey.from_file(key).verify(open(path, "rb").read(), minisign.Signature.from_file(signature))
PY
check accepts "py-minisign: SHA256SUMS" "$python" mini.py alice.minisign.pub a/SHA256SUMS a/SHA256SUMS.minisig
check refuses "py-minisign: another trusted comment" "$python" mini.py alice.minisign.pub a/SHA256SUMS comment.minisig

# --- keys of others sign a release -----------------------------------------------------------------------------------------------------
openssl genpkey -algorithm ed25519 -out openssl.pem 2>/dev/null
openssl pkey -in openssl.pem -pubout -out openssl.pub
openssl pkey -in openssl.pem -aes256 -passout file:passphrase -out openssl-locked.pem
for key in openssl.pem openssl-locked.pem; do
    rm -rf c; cp -r "$release" c; rm -rf c/provenance c/SHA256SUMS.minisig
    check accepts "openssl: $key signs a release" "$xtask" -q attest c --key $key --passphrase-file passphrase --no-locks
    check accepts "cosign: checks that" blob openssl.pub c/provenance/release.intoto.jsonl c/release.json
done

# --- model_signing ------------------------------------------------------------------------------------------------------------------------
mkdir -p model/below
head -c 100000 /dev/zero > model/params_shard_0.bin
echo '{}' > model/tensor-cache.json
echo x > model/below/a
echo y > model/below.b
"$xtask" -q attest model --model-signature model.pem
model() { "$work/venv/bin/model_signing" verify key "$1" --signature "$1/model.sig" --public_key "$2"; }
check accepts "model_signing: the model" model model model.pub
check refuses "model_signing: another's key" model model other.pub
cp -r model changed-model; echo z >> changed-model/below/a
check refuses "model_signing: a changed file" model changed-model model.pub
rm -rf changed-model; cp -r model changed-model; echo z > changed-model/more
check refuses "model_signing: a file more" model changed-model model.pub
rm -rf changed-model; cp -r model changed-model; rm changed-model/below/a
check refuses "model_signing: a file less" model changed-model model.pub
rm -rf changed-model; cp -r model changed-model
sed -i 's/"sig":"M/"sig":"N/' changed-model/model.sig
check refuses "model_signing: a changed signature" model changed-model model.pub
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem 2>/dev/null
openssl pkey -in ec.pem -pubout -out ec.pub
rm model/model.sig; "$xtask" -q attest model --model-signature ec.pem
check accepts "model_signing: signed with a key of openssl" model model ec.pub
"$work/venv/bin/model_signing" sign key model --signature theirs.sig --private_key model.pem >/dev/null 2>&1

# --- how long a stranger's check takes, by both ways of docs/auditing.md, whose very commands and policy are run ---------------------
mkdir -p stranger/{bin,keys,dist}
cp -r a stranger/dist/tvm
"$xtask" -q attest keygen carol --no-passphrase
cp {alice,bob,carol}.pub alice.minisign.pub stranger/keys/
ln -s "$cosign" stranger/bin/cosign
ln -s "${minisigns[0]}" stranger/bin/minisign
printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$(echo "$work"/own/usr/lib/*-linux-gnu)" "$work/own/usr/bin/jq" > stranger/bin/jq
printf '#!/bin/sh\nshift\nexec %s "$@" --no-locks\n' "$xtask" > stranger/bin/cargo
chmod +x stranger/bin/{jq,cargo}
block() { # HEADING, LANGUAGE: the first block of code below a heading of the documentation
    sed -n "/^## $1/,\$p" "$here/../../docs/auditing.md" | awk -v fence="\`\`\`$2" '
        $0 == fence && !inside && !done { inside = 1; next } /^```$/ && inside { inside = 0; done = 1 } inside'
}
block 'In five minutes' toml > stranger/policy.toml
block 'In five minutes' '' > stranger/ours.sh
block 'In ten minutes' '' > stranger/by_hand.sh
walk() { (cd stranger && HOME=$work PATH=$PWD/bin:$PATH bash -euo pipefail "$1") > walk.log 2>&1 && ! grep 'NOT BY' walk.log; } # SCRIPT
ours() { walk ours.sh && grep '^PASS' walk.log; }
by_hand() { walk by_hand.sh && grep -q urn:mlc-repro walk.log; }
timed() { # NAME, command …
    local start=$EPOCHREALTIME
    check accepts "$@"
    local micros=$((${EPOCHREALTIME/[^0-9]/} - ${start/[^0-9]/}))
    printf '      %d.%03d s, for %s\n' $((micros / 1000000)) $((micros / 1000 % 1000)) "$(du -shL --apparent-size a | cut -f1)"
}
timed "a stranger's check: verify --policy" ours
timed "a stranger's check: sha256sum, minisign, cosign and jq" by_hand
cp stranger.pub stranger/keys/bob.pub
check refuses "a stranger's check: verify --policy, another key" ours
check refuses "a stranger's check: by hand, another key" by_hand

echo "$count checks"
exit $failed
