"""Unpacks a wheel as an installer does: every member must stand in RECORD with its hash and size, and nothing else.

    unpack.py WHEEL DIRECTORY
"""

import base64
import csv
import hashlib
import io
import os
import sys
import zipfile


def main(path, directory):
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [record] = [name for name in names if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(io.StringIO(wheel.read(record).decode())))
        assert sorted(row[0] for row in rows) == sorted(names), "RECORD lists other files than there are"
        for name, digest, size in rows:
            content = wheel.read(name)
            if name != record:
                expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == ("sha256=" + expected, len(content)), f"{name} is not what RECORD says"
            target = os.path.join(directory, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(content)
    tags = [line for line in open(os.path.join(directory, os.path.dirname(record), "WHEEL")) if line.startswith("Tag: ")]
    print(f"{os.path.basename(path)}: {len(names)} files as RECORD says, {', '.join(tag.strip() for tag in tags)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
