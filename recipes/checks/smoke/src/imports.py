"""Compares what DLLs import with what the DLLs that provide it export.

    imports.py DIRECTORY SYSTEM_DIRECTORY [KNOWN]

Every DLL and Python module in DIRECTORY is read; an imported DLL is looked for there first, then in SYSTEM_DIRECTORY, by names without regard
to case. Wine stubs a function that is missing instead of refusing to load, so that only the tables tell. Prints a line for each pair of DLLs,
names each import that nothing exports, and exits with 1 if there is one that the file KNOWN does not name, or one named there that is not
missing. KNOWN has lines `FILE PROVIDER SYMBOL`; the symbol `*` stands for all, of a provider that is nowhere.
"""

import os
import re
import subprocess
import sys


def table(option, path):
    """The lines llvm-readobj prints for one of a DLL's tables."""
    command = ["llvm-readobj", option, path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def exports(path):
    """The names and the ordinals that a DLL exports."""
    found = set()
    for line in table("--coff-exports", path):
        field = re.fullmatch(r"\s+(Name|Ordinal): (\S+)", line)
        if field:
            found.add(field[2] if field[1] == "Name" else "#" + field[2])
    return found


def imports(path):
    """The names (or ordinals, as `#N`) that a DLL imports, by the name of the DLL it imports them from."""
    found = {}
    provider = None
    for line in table("--coff-imports", path):
        if re.fullmatch(r"(Import|DelayImport) \{", line):
            provider = None
        elif name := re.fullmatch(r"  Name: (\S+)", line):
            provider = found.setdefault(name[1], [])
        elif symbol := re.fullmatch(r"  Symbol: (\S*) \((\d+)\)", line):
            provider.append(symbol[1] or "#" + symbol[2])
    return found


def directory(path):
    """The DLLs of a directory, by their names in lower case."""
    suffixes = (".dll", ".pyd")
    return {name.lower(): os.path.join(path, name) for name in sorted(os.listdir(path)) if name.lower().endswith(suffixes)}


def known_missing(path):
    """The imports that are known to be missing."""
    if path is None:
        return set()
    with open(path, encoding="utf-8") as lines:
        return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def main(program_directory, system_directory, known_path=None):
    program = directory(program_directory)
    system = directory(system_directory)
    known = known_missing(known_path)
    cache = {}
    missing = set()
    for name, path in sorted(program.items()):
        for provider, symbols in sorted(imports(path).items()):
            key = provider.lower()
            # The UCRT's API sets are names that the loader resolves to ucrtbase.dll; they are no files.
            if key.startswith("api-ms-win-crt-"):
                key = "ucrtbase.dll"
            location = program.get(key) or system.get(key)
            if location is None:
                missing.add(f"{name} {key} *")
                continue
            if location not in cache:
                cache[location] = exports(location)
            absent = [symbol for symbol in symbols if symbol not in cache[location]]
            missing.update(f"{name} {key} {symbol}" for symbol in absent)
            print(f"{name}: {len(symbols)} from {provider}, {len(absent)} missing")
    for one in sorted(missing):
        print(f"{'known' if one in known else 'MISSING'} {one}")
    for one in sorted(known - missing):
        print(f"MISSING no more, so take it off the list: {one}")
    print(f"{len(missing)} missing imports, {len(missing & known)} of them known")
    return 1 if missing != known else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
