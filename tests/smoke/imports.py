"""Compares what DLLs import with what the DLLs that provide it export.

    imports.py DIRECTORY SYSTEM_DIRECTORY

Every DLL in DIRECTORY is read; an imported DLL is looked for there first, then in SYSTEM_DIRECTORY, by names without regard to case. Wine
stubs a function that is missing instead of refusing to load, so that only the tables tell. Prints a line for each pair of DLLs, names each
import that nothing exports, and exits with 1 if there is one.
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
    return {name.lower(): os.path.join(path, name) for name in sorted(os.listdir(path)) if name.lower().endswith(".dll")}


def main(program_directory, system_directory):
    program = directory(program_directory)
    system = directory(system_directory)
    cache = {}
    missing = 0
    for name, path in sorted(program.items()):
        for provider, symbols in sorted(imports(path).items()):
            key = provider.lower()
            # The UCRT's API sets are names that the loader resolves to ucrtbase.dll; they are no files.
            if key.startswith("api-ms-win-crt-"):
                key = "ucrtbase.dll"
            location = program.get(key) or system.get(key)
            if location is None:
                print(f"MISSING {name}: {provider} is nowhere")
                missing += len(symbols)
                continue
            if location not in cache:
                cache[location] = exports(location)
            absent = [symbol for symbol in symbols if symbol not in cache[location]]
            missing += len(absent)
            print(f"{name}: {len(symbols)} from {provider}, {len(absent)} missing")
            for symbol in absent:
                print(f"MISSING {name}: {symbol} from {provider}")
    print(f"{missing} missing imports")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
