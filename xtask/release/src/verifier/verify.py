#!/usr/bin/env python3
"""Checks this release directory: python3 verify.py [DIRECTORY]. Python 3.8 or newer, nothing else.

Every file against release.json and SHA256SUMS, every archive member against release.json, nothing missing, nothing
added. It does not prove where the files come from: compare the SHA-256 that it prints with one that reached you by
another way. Whoever could change a file could change this script; it is the same in every release of a version.
"""
import base64, hashlib, json, os, stat, sys, tarfile, zipfile

top = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
problems = []

def fail(name, text):
    problems.append(ascii(name)[1:-1] + ": " + ascii(text)[1:-1])

def sha256(stream):
    digest, size = hashlib.sha256(), 0
    for piece in iter(lambda: stream.read(1 << 20), b""):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size

def regular(name):
    path = os.path.join(top, *name.split("/"))
    return stat.S_ISREG(os.lstat(path).st_mode) and open(path, "rb")

def members(stream, name):
    """Path, executable or not, and content of each member; a link's text instead of its content."""
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=stream, mode="r:gz") as archive:
            for member in archive:
                if not member.isreg() and not member.issym():
                    raise ValueError("holds " + member.name + ", which is neither file nor link")
                content = member.linkname if member.issym() else archive.extractfile(member)
                yield member.name, bool(member.mode & 0o100), content
    else:
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                yield member.filename, bool(member.external_attr >> 16 & 0o100), archive.open(member)

def check_archive(artifact):
    name = artifact["archive"]["path"]
    stem = name[:-7] if name.endswith(".tar.gz") else name[:-4]
    prefix = "" if name.endswith(".whl") else stem + "/"
    expected = {prefix + file["path"]: (file["sha256"], file["size"], file.get("executable", False))
                for file in artifact["files"]}
    expected.update({prefix + path: text for path, text in artifact["links"].items()})
    for path, executable, content in members(regular(name), name):
        found = content if isinstance(content, str) else (*sha256(content), executable)
        if expected.pop(path, None) != found:
            fail(name, "holds another " + path + " than release.json says, or one twice")
    for path in expected:
        fail(name, "lacks " + path)

def image(files):
    """The SHA-256 of the manifest (OCI) that these files have in every registry, which the release's statement names too."""
    kinds = {".tar.gz": "gzip", ".zip": "zip", ".whl": "zip", ".json": "json"}
    def descriptor(kind, sha256, size, **more):
        return {"mediaType": kind, "digest": "sha256:" + sha256, "size": size, **more}
    layers = []
    for path in sorted(files, key=str.encode):
        is_text = path == "SHA256SUMS" or path.endswith(".txt") or path.startswith("licenses/")
        kind = next(("application/" + kind for end, kind in kinds.items() if path.endswith(end)),
                    "text/plain" if is_text else "application/octet-stream")
        layers.append(descriptor(kind, *files[path], annotations={"org.opencontainers.image.title": path}))
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/vnd.mlc-repro.release.v1+json",
                "config": descriptor("application/vnd.oci.empty.v1+json", hashlib.sha256(b"{}").hexdigest(), 2),
                "layers": layers}
    return hashlib.sha256(json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()

def check_signature(name, manifest, expected, sums):
    """Whether a file beside those of the manifest may be there: a signature of this release. Nobody's key is checked."""
    if name == "SHA256SUMS.minisig":
        return bool(regular(name))
    models = {model["files"][0]["path"].split("/")[0]: model["files"] for model in manifest.get("models", [])}
    subjects = {title: [file["path"] for file in files] for title, files in models.items()}
    subjects.update({artifact["archive"]["path"]: [artifact["archive"]["path"]] for artifact in manifest["artifacts"]})
    subjects["release"] = list(expected) + ["SHA256SUMS", "oci:" + manifest["name"]]
    if name in ["provenance/%s.sig" % title for title in models]:
        return bool(regular(name))
    about = name[len("provenance/"):-len(".intoto.jsonl")]
    if name != "provenance/%s.intoto.jsonl" % about or about not in subjects or not regular(name):
        return False
    envelope = json.loads(regular(name).read())
    digests = {path: digest[0] for path, digest in expected.items()}
    digests["SHA256SUMS"] = hashlib.sha256(sums.encode()).hexdigest()
    digests["oci:" + manifest["name"]] = image({**expected, "SHA256SUMS": (digests["SHA256SUMS"], len(sums.encode()))})
    said = {subject["name"]: subject["digest"]["sha256"]
            for subject in json.loads(base64.b64decode(envelope["payload"]))["subject"]}
    if said != {path: digests[path] for path in subjects[about]}:
        fail(name, "is about other files than the release has")
    return True

def check():
    text = regular("release.json").read()
    manifest = json.loads(text)
    if manifest["schema"] != "mlc-repro/release/3":
        fail("release.json", "has a schema that this script does not know")
    files = [artifact["archive"] for artifact in manifest["artifacts"]] + manifest["licenses"]
    files += [file for model in manifest.get("models", []) for file in model["files"]]
    files += [manifest["verifier"], manifest["bom"]]
    expected = {file["path"]: (file["sha256"], file["size"]) for file in files}
    expected["release.json"] = (hashlib.sha256(text).hexdigest(), len(text))
    sums = "".join("%s  %s\n" % (expected[name][0], name) for name in sorted(expected, key=str.encode))
    if regular("SHA256SUMS").read() != sums.encode():
        fail("SHA256SUMS", "does not say what release.json says")
    found = set()
    for directory, directories, names in os.walk(top):
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        for name in names + links:
            found.add(os.path.relpath(os.path.join(directory, name), top).replace(os.sep, "/"))
        if not names and not directories:
            fail(os.path.relpath(directory, top), "is an empty directory")
    signatures = {"SHA256SUMS.minisig"} & found
    for name in found - set(expected) - {"SHA256SUMS"}:
        if not check_signature(name, manifest, expected, sums):
            fail(name, "is not in release.json")
        signatures.add(name)
    for name, digest in expected.items():
        if name not in found:
            fail(name, "is missing")
        elif not (file := regular(name)) or sha256(file) != digest:
            fail(name, "changed: it is not what release.json says")
    for artifact in manifest["artifacts"] if not problems else []:
        try:
            check_archive(artifact)
        except Exception as error:
            fail(artifact["archive"]["path"], "cannot be read: %s: %s" % (type(error).__name__, error))
    count = len(found - signatures)
    return "release.json %s, %d files, %d signature files" % (expected["release.json"][0], count, len(signatures))

try:
    summary = check()
except Exception as error:
    fail(top, "cannot be checked: %s: %s" % (type(error).__name__, error))
for problem in problems:
    print("FAIL  " + problem)
if not problems:
    print("PASS  " + summary + "; not rebuilt, no signature checked")
sys.exit(1 if problems else 0)
