"""Writes the import libraries of a sysroot: import_libraries.py OUTPUT_DIRECTORY

Names come from export tables, never from Microsoft's files: Wine's DLLs for those of the system and of VCRuntime,
mingw-w64's libucrt.a for which API set (api-ms-win-crt-*) exports which function of the Universal CRT.
"""

import collections
import os
import re
import subprocess
import sys

WINE = "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows"
MINGW_UCRT = "/usr/x86_64-w64-mingw32ucrt/lib/libucrt.a"

SYSTEM = """advapi32 bcrypt comdlg32 dbghelp gdi32 kernel32 ntdll ole32 oleaut32 psapi rpcrt4 shell32 shlwapi user32
userenv version winmm ws2_32""".split()

# CMake links it into everything by default.
DRIVERS = ["winspool"]

# Sources for Windows spell these in several ways.
OTHER_SPELLINGS = {"Ws2_32.lib": "ws2_32.lib", "DbgHelp.lib": "dbghelp.lib"}

# Functions of the C runtime that Wine's system DLLs export as well: they must come from the Universal CRT.
C_RUNTIME = {"memcpy", "memset", "memmove", "memchr", "memcmp", "strlen", "sprintf"}

# In the Universal CRT of Windows, but not in mingw-w64's list.
MORE_UCRT = {
    "api-ms-win-crt-string-l1-1-0": {"strnlen"},
    "api-ms-win-crt-convert-l1-1-0": {"strtold", "wcstold", "_strtold_l", "_wcstold_l"},
}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exports(dll):
    names = re.findall(r"^ *Name: (\S+)$", run("llvm-readobj", "--coff-exports", dll), re.M)
    return list(dict.fromkeys(names))


def import_library(dll, names, output):
    definition = output + ".def"
    with open(definition, "w") as file:
        file.write(f"LIBRARY {dll}\nEXPORTS\n" + "".join(f'  "{name}"\n' for name in names))
    run("llvm-dlltool", "-m", "i386:x86-64", "-d", definition, "-l", output)
    os.unlink(definition)


def archive(output, libraries):
    run("llvm-lib", "/OUT:" + output, *libraries)
    for library in libraries:
        os.unlink(library)


def universal_crt(output):
    available = set(exports(f"{WINE}/ucrtbase.dll"))
    symbols = run("llvm-nm", "-A", "--defined-only", MINGW_UCRT)
    sets = collections.defaultdict(set)
    for dll, name in re.findall(r"lib(api-ms-win-crt-[a-z]+-l\d-\d-\d)s\d+\.o: \S+ I __imp_(\S+)$", symbols, re.M):
        sets[dll].add(name)
    for dll, names in MORE_UCRT.items():
        sets[dll] |= names
    seen, libraries = set(), []
    # The private set repeats functions under names for Microsoft's own use.
    for dll in sorted(dll for dll in sets if "private" not in dll):
        names = sorted((sets[dll] - seen) & available)
        seen |= set(names)
        libraries.append(f"{output}.{dll}.lib")
        import_library(f"{dll}.dll", names, libraries[-1])
    archive(output, libraries)


def main():
    directory = sys.argv[1]
    universal_crt(f"{directory}/ucrt.lib")
    files = [f"{name}.dll" for name in SYSTEM] + [f"{name}.drv" for name in DRIVERS]
    for file in files:
        names = [n for n in exports(f"{WINE}/{file}") if not n.startswith(("_", "wine_")) and n not in C_RUNTIME]
        import_library(file, names, f"{directory}/{file[:-4]}.lib")
    import_library("vcruntime140.dll", exports(f"{WINE}/vcruntime140.dll"), f"{directory}/vcruntime.lib")
    for other, name in OTHER_SPELLINGS.items():
        os.symlink(name, f"{directory}/{other}")


main()
