#!/bin/bash
# Proves the stand-in of the tests (stand_in.py) by the clients that people use: huggingface_hub out of the Python package index,
# and @huggingface/hub out of the npm registry. Both publish a small model; the second finds the large file there and does not send it.
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

mkdir "$work/state" "$work/model"
head -c 300000 /dev/zero > "$work/model/params_shard_0.bin"
echo '{"metadata": {}}' > "$work/model/tensor-cache.json"
mkfifo "$work/input"
python3 "$here/stand_in.py" "$work/state" < "$work/input" > "$work/address" &
hub=$!
exec 9> "$work/input"
until [ -s "$work/address" ]; do sleep 0.1; done
address=$(cat "$work/address")

# Its own protocol for large files is not of the stand-in.
HF_HUB_DISABLE_XET=1 HF_ENDPOINT=$address HF_TOKEN=hf_secretsecretsecret HF_HOME=$work/home \
    "$work/venv/bin/hf" upload me/python "$work/model" . --commit-message python

cat > "$work/publish.mjs" <<'JS'
import { createRepo, uploadFiles } from "@huggingface/hub";
import fs from "node:fs";
import { pathToFileURL } from "node:url";
const [hubUrl, directory] = process.argv.slice(2);
const options = { repo: { type: "model", name: "me/javascript" }, accessToken: "hf_secretsecretsecret", hubUrl };
await createRepo(options);
const files = fs.readdirSync(directory).map((path) => ({ path, content: pathToFileURL(`${directory}/${path}`) }));
await uploadFiles({ ...options, useXet: false, files, commitTitle: "javascript" });
JS
(cd "$work" && node publish.mjs "$address" "$work/model")

python3 - "$work/state" <<'PY'
import hashlib, json, sys
state = json.load(open(sys.argv[1] + "/state.json"))
lines = [json.loads(line) for line in open(sys.argv[1] + "/log.jsonl")]
python, javascript = (state["repositories"]["me/" + name]["files"] for name in ("python", "javascript"))
large = hashlib.sha256(bytes(300000)).hexdigest()
for files in python, javascript:
    assert files["params_shard_0.bin"]["oid"] == large and files["params_shard_0.bin"]["large"], files
    assert not files["tensor-cache.json"]["large"], files
puts = [line for line in lines if line["method"] == "PUT"]
assert len(puts) == 1 and not puts[0]["token"], puts
print("both clients published; the large file was sent once, without the token")
PY
