#!/usr/bin/env python3
"""A hub of models for tests, on this machine alone: the part of the protocol by which files are published.

    python3 stand_in.py DIRECTORY

Prints its address, and serves until its standard input ends. Everything that was asked goes to DIRECTORY/log.jsonl, without the
token: whether there was one. With HUB_PARTS=SIZE in the environment, large files of more bytes are taken in parts of so many bytes,
as hubs do above 5 GB. DIRECTORY/faults.json says what goes wrong, such as {"commit": [412], "put": [503, 503]}: the
statuses of the next answers, one after the other, before the right ones.

It refuses a file that does not hash to its name and a commit that names an object which is not there. It is proven by the
clients of others (real_clients.sh).
"""
import base64, hashlib, http.server, json, os, re, sys, threading

place = sys.argv[1]
token = "Bearer hf_secretsecretsecret"
lock = threading.Lock()
repositories, objects = {}, {}
part_size, parts = int(os.environ.get("HUB_PARTS", 0)), {}

def load():
    path = os.path.join(place, "state.json")
    if os.path.exists(path):
        with open(path) as file:
            state = json.load(file)
        repositories.update(state["repositories"])
        objects.update(state["objects"])

def save():
    path = os.path.join(place, "state.json")
    with open(path + ".new", "w") as file:
        json.dump({"repositories": repositories, "objects": objects}, file)
    os.replace(path + ".new", path)

def fault(kind):
    """The status of the next answer of a kind that is to fail, or nothing."""
    path = os.path.join(place, "faults.json")
    if not os.path.exists(path):
        return None
    with open(path) as file:
        faults = json.load(file)
    if not faults.get(kind):
        return None
    status = faults[kind].pop(0)
    with open(path, "w") as file:
        json.dump(faults, file)
    return status

def git_oid(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        content = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            content += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return content

    def answer(self, value, status=200, headers={}):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_request(self):
        content = self.body()
        with lock:
            authorization = self.headers.get("authorization")
            line = {"method": self.command, "path": self.path, "token": authorization is not None, "size": len(content)}
            with open(os.path.join(place, "log.jsonl"), "a") as file:
                file.write(json.dumps(line) + "\n")
            self.route(content, authorization)

    do_GET = do_HEAD = do_POST = do_PUT = handle_request

    def route(self, content, authorization):
        base = "http://" + self.headers["host"]
        path = self.path.split("?")[0]
        if path.startswith("/put/"):
            return self.put(path[5:], content)
        match = re.fullmatch(r"/part/([0-9a-f]{64})/(\d+)", path)
        if match:
            return self.put_part(match[1], int(match[2]), content)
        if path.startswith("/complete/"):
            return self.complete(path[10:], json.loads(content))
        if authorization != token:
            return self.answer({"error": "Invalid credentials"}, 401)
        if path == "/api/whoami-v2":
            return self.answer({"type": "user", "name": "me", "fullname": "me", "orgs": [],
                                "auth": {"type": "access_token", "accessToken": {"displayName": "t", "role": "write"}}})
        if path == "/api/repos/create":
            return self.create(json.loads(content), base)
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if path == "/verify":
            wanted = json.loads(content)
            return self.answer({}, 200 if objects.get(wanted["oid"]) == wanted["size"] else 404)
        match = re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        if match:
            return self.batch(json.loads(content), base)
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if match:
            return self.resolve(repositories.get(match[1]), match[2], match[3])
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(preupload|commit|revision)/([^/]+))?", path)
        if not match or match[1] not in repositories:
            return self.answer({"error": "Repository not found"}, 404)
        repository = repositories[match[1]]
        status = fault(match[2] or "revision")
        if status:
            return self.answer({"error": "as the test asked"}, status)
        if match[2] == "preupload":
            return self.preupload(repository, json.loads(content))
        if match[2] == "commit":
            return self.commit(match[1], repository, content, base)
        siblings = []
        for name, file in sorted(repository["files"].items()):
            large = {"lfs": {"sha256": file["oid"], "size": file["size"], "pointerSize": 130}} if file["large"] else {}
            siblings.append({"rfilename": name, "size": file["size"], "blobId": file["blob"], **large})
        return self.answer({"_id": "1", "id": match[1], "modelId": match[1], "sha": repository["sha"], "private": False,
                            "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})

    def resolve(self, repository, revision, path):
        """A file of the last commit, which is the only one that is kept."""
        file = repository and revision in ("main", repository["sha"]) and repository["files"].get(path)
        if not file or file["large"]:
            return self.answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": '"%s"' % file["blob"], "X-Repo-Commit": repository["sha"]}
        content = base64.b64decode(file["content"])
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        if not part:
            return self.answer(content, headers=headers)
        first, last = int(part[1]), min(int(part[2]), len(content) - 1)
        headers["Content-Range"] = "bytes %d-%d/%d" % (first, last, len(content))
        self.answer(content[first:last + 1], 206, headers)

    def create(self, wanted, base):
        name = (wanted.get("organization") or "me") + "/" + wanted["name"]
        status = fault("create")
        if status:
            return self.answer({"error": "as the test asked"}, status)
        if name in repositories:
            return self.answer({"error": "You already created this model repo", "url": base + "/" + name}, 409)
        repositories[name] = {"files": {}, "sha": hashlib.sha1(name.encode()).hexdigest()}
        save()
        self.answer({"url": base + "/" + name, "name": name, "id": "1"})

    def preupload(self, repository, wanted):
        files = []
        for file in wanted["files"]:
            there = repository["files"].get(file["path"])
            large = file["size"] > 10_000_000 or file["path"].endswith((".bin", ".safetensors"))
            files.append({"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False,
                          "oid": there and (there["oid"] if there["large"] else there["blob"])})
        self.answer({"files": files})

    def batch(self, wanted, base):
        status = fault("batch")
        found, transfer = [], "basic"
        for item in wanted["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in objects:
                href, header = base + "/put/" + item["oid"], {}
                if 0 < part_size < item["size"] and "multipart" in wanted.get("transfers", []):
                    transfer, href = "multipart", base + "/complete/" + item["oid"]
                    header = {"%05d" % (n + 1): "%s/part/%s/%d?signature=secret" % (base, item["oid"], n + 1)
                              for n in range(-(-item["size"] // part_size) - (fault("parts") or 0))}
                    header["chunk_size"] = str(part_size)
                entry["actions"] = {"upload": {"href": href, "header": header}, "verify": {"href": base + "/verify", "header": {}}}
            found.append(entry)
        if status == 1:
            found[0]["oid"] = "0" * 64
            status = None
        self.answer({"transfer": transfer, "objects": found}, status or 200)

    def put(self, oid, content):
        status = fault("put")
        if status:
            return self.answer({"error": "as the test asked"}, status)
        if hashlib.sha256(content).hexdigest() != oid:
            return self.answer({"error": "the content has another hash"}, 400)
        objects[oid] = len(content)
        save()
        self.answer(b"")

    def put_part(self, oid, number, content):
        status = fault("part")
        if status:
            return self.answer({"error": "as the test asked"}, status)
        if len(content) > part_size or self.headers.get("content-length") is None:
            return self.answer({"error": "a part has a length, and at most %d bytes" % part_size}, 400)
        parts[oid, number] = content
        self.answer(b"", headers={} if fault("etag") else {"ETag": '"%s"' % hashlib.md5(content).hexdigest()})

    def complete(self, oid, wanted):
        status = fault("complete")
        if status:
            return self.answer({"error": "as the test asked"}, status)
        content = b""
        for number, part in enumerate(wanted["parts"], 1):
            there = parts.get((oid, number), b"")
            if part != {"partNumber": number, "etag": '"%s"' % hashlib.md5(there).hexdigest()}:
                return self.answer({"error": "the part %d is another" % number}, 400)
            content += there
        if wanted["oid"] != oid or hashlib.sha256(content).hexdigest() != oid:
            return self.answer({"error": "the content has another hash"}, 400)
        objects[oid] = len(content)
        save()
        self.answer({})

    def commit(self, name, repository, content, base):
        lines = [json.loads(line) for line in content.splitlines()]
        parent = lines[0]["value"].get("parentCommit")
        if parent and parent != repository["sha"]:
            return self.answer({"error": "A commit has happened since"}, 412)
        changed = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "lfsFile":
                if value["oid"] not in objects:
                    return self.answer({"error": "LFS object %s is not there" % value["oid"]}, 400)
                pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
                    value["oid"], objects[value["oid"]])
                changed[value["path"]] = {"large": True, "oid": value["oid"], "size": objects[value["oid"]],
                                          "blob": git_oid(pointer.encode())}
            elif line["key"] == "file":
                plain = base64.b64decode(value["content"])
                changed[value["path"]] = {"large": False, "oid": hashlib.sha256(plain).hexdigest(), "size": len(plain),
                                          "blob": git_oid(plain), "content": value["content"]}
        repository["files"].update(changed)
        repository["sha"] = hashlib.sha1(content + repository["sha"].encode()).hexdigest()
        save()
        oid = "x" if fault("oid") else repository["sha"]
        self.answer({"success": True, "commitUrl": base + "/" + name + "/commit/" + oid, "commitOid": oid, "hookOutput": ""})

load()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("http://127.0.0.1:%d" % server.server_port, flush=True)
sys.stdin.read()
