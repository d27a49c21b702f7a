#!/bin/bash
# Proves the stand-in of the tests (stand_in.py) by the clients that people use: huggingface_hub out of the Python package index,
# and @huggingface/hub out of the npm registry. Both publish a small model; the second finds the large file there and does not
# send it. Both read a small file back. Then each publishes one whose large file the stand-in takes in parts.
#
#   tests/hub/real_clients.sh
#
# Takes about half a minute, most of it for the packages, so continuous integration does without it. Run it when stand_in.py changes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
stop() {
    if [ -n "${hub:-}" ]; then kill "$hub" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap stop EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q huggingface_hub==2.4.0
(cd "$work" && npm install --silent --no-audit --no-fund @huggingface/hub@2.17.5 >/dev/null)

mkdir "$work/python" "$work/javascript"
head -c 300000 /dev/zero > "$work/python/params_shard_0.bin"
echo '{"metadata": {}}' > "$work/python/tensor-cache.json"
cat > "$work/publish.mjs" <<'JS'
import { createRepo, downloadFile, uploadFiles } from "@huggingface/hub";
import fs from "node:fs";
import { pathToFileURL } from "node:url";
const [hubUrl, directory] = process.argv.slice(2);
const options = { repo: { type: "model", name: "me/javascript" }, accessToken: "hf_secretsecretsecret", hubUrl };
await createRepo(options);
const files = fs.readdirSync(directory).map((path) => ({ path, content: pathToFileURL(`${directory}/${path}`) }));
await uploadFiles({ ...options, useXet: false, files, commitTitle: "javascript" });
const back = await downloadFile({ ...options, path: "tensor-cache.json", xet: false });
fs.writeFileSync("back.json", await back.text());
JS
cat > "$work/check.py" <<'PY'
import hashlib, json, os, sys
state_directory, parts, *models = sys.argv[1:]
state = json.load(open(state_directory + "/state.json"))
lines = [json.loads(line) for line in open(state_directory + "/log.jsonl")]
sent = set()
for name in models:
    files = state["repositories"]["me/" + os.path.basename(name)]["files"]
    large = hashlib.sha256(open(name + "/params_shard_0.bin", "rb").read()).hexdigest()
    assert files["params_shard_0.bin"]["oid"] == large and files["params_shard_0.bin"]["large"], files
    assert not files["tensor-cache.json"]["large"], files
    sent.add(large)
puts = [line for line in lines if line["method"] == "PUT"]
complete = [line for line in lines if line["path"].startswith("/complete/")]
assert not any(line["token"] for line in puts), puts
assert len(puts) == len(sent) * int(parts) and len(complete) == (len(sent) if int(parts) > 1 else 0), lines
print("both clients published; each large file was sent once, in %s parts, without the token" % parts)
PY

# round PARTS PYTHON_MODEL JAVASCRIPT_MODEL: how many parts the large file has, and what each client publishes.
round() {
    rm -rf "$work/state" "$work/input"
    mkdir "$work/state"
    mkfifo "$work/input"
    : > "$work/address"
    python3 "$here/stand_in.py" "$work/state" < "$work/input" > "$work/address" &
    hub=$!
    exec 9> "$work/input"
    until [ -s "$work/address" ]; do sleep 0.1; done
    address=$(cat "$work/address")
    # Its own protocol for large files is not of the stand-in.
    HF_HUB_DISABLE_XET=1 HF_ENDPOINT=$address HF_TOKEN=hf_secretsecretsecret HF_HOME=$work/home \
        "$work/venv/bin/hf" upload me/python "$2" . --commit-message python
    (cd "$work" && node publish.mjs "$address" "$3")
    cmp "$work/back.json" "$3/tensor-cache.json"
    HF_HUB_DISABLE_XET=1 HF_ENDPOINT=$address HF_TOKEN=hf_secretsecretsecret HF_HOME=$work/home \
        "$work/venv/bin/hf" download me/python tensor-cache.json --local-dir "$work/state/back" > /dev/null
    cmp "$work/state/back/tensor-cache.json" "$2/tensor-cache.json"
    exec 9>&-
    wait "$hub" || true
    hub=
    python3 "$work/check.py" "$work/state" "$1" "$2" "$3"
}

cp -rT "$work/python" "$work/javascript"
round 1 "$work/python" "$work/javascript"
# In parts, the last of which is shorter; each client sends a file of its own.
head -c 300001 /dev/zero > "$work/javascript/params_shard_0.bin"
export HUB_PARTS=80000
round 4 "$work/python" "$work/javascript"
