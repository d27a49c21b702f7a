"""Holds a release's bill of materials against CycloneDX's own library, and against what the archives say: bom.py RELEASE."""
import json, os, sys, zipfile
from email.parser import Parser

from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

release = sys.argv[1]
with open(os.path.join(release, "bom.cdx.json"), encoding="utf-8") as file:
    text = file.read()
bom = json.loads(text)
strict = JsonStrictValidator(SchemaVersion.V1_6)
assert (error := strict.validate_str(text)) is None, error
Bom.from_json(json.loads(text)).validate()

# The validator does refuse something, and so does the library.
wrong = json.loads(text)
wrong["components"][0]["hashes"][0]["content"] = "none"
assert strict.validate_str(json.dumps(wrong)) is not None
wrong = json.loads(text)
wrong["dependencies"][0]["dependsOn"] = ["gone"]
try:
    Bom.from_json(wrong).validate()
except Exception as error:
    assert "gone" in str(error), error
else:
    sys.exit("a dependency on nothing was accepted")

# Licenses: of each part there are texts, and a wheel's METADATA says what the bill says.
wheels = 0
for component in bom["components"]:
    properties = {it["name"]: it["value"] for it in component.get("properties", [])}
    archive = properties.get("mlc-repro:archive")
    if archive is None:
        continue
    parts = [part for part in component["components"] if part["type"] == "library"]
    for part in parts:
        assert part["externalReferences"], part["name"]
        for reference in part["externalReferences"]:
            assert os.path.isfile(os.path.join(release, reference["url"].replace("%2B", "+"))), reference["url"]
    listed = {part["name"] for part in parts}
    title = archive.removesuffix(".tar.gz").removesuffix(".zip").removesuffix(".whl")
    assert listed == set(os.listdir(os.path.join(release, "licenses", title))), archive
    if archive.endswith(".whl"):
        wheels += 1
        with zipfile.ZipFile(os.path.join(release, archive)) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = Parser().parsestr(wheel.read(name).decode())
        assert metadata["License-Expression"] == component["licenses"][0]["expression"], archive
        assert {file.split("/")[0] for file in metadata.get_all("License-File")} == listed, archive
print(f"{len(bom['components'])} components, {wheels} wheels: accepted")
