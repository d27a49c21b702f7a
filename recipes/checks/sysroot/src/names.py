"""Checks that the C runtime's headers declare what libc++ takes into `std`: names.py SYSROOT

libc++ leaves out of `std`, without a word, what a platform's headers lack: only a program that uses the name finds out.
"""

import pathlib
import re
import subprocess
import sys

# Microsoft's C runtime has no aligned_alloc; gets and the conversions of char8_t are not declared on purpose.
LACKING = {"aligned_alloc", "c8rtomb", "gets", "mbrtoc8"}

sysroot = pathlib.Path(sys.argv[1])
libcxx = sysroot / "include/c++/v1"
headers, names = [], set()
for header in sorted(path for path in libcxx.glob("c*") if path.is_file()):
    found = re.findall(r"^\s*using ::(\w+)\s+_LIBCPP_USING_IF_EXISTS;", header.read_text(), re.M)
    if found:
        headers.append(header.name)
        names.update(found)
assert {"cmath", "cstdio", "cwchar"} <= set(headers) and {"nan", "size_t"} <= names, "libc++ says it in another way"

with open("names.cpp", "w") as source:
    source.writelines(f"#include <{name}>\n" for name in headers)
    # A type and an overloaded function are errors as well, but others.
    source.writelines(f"void use_{name}() {{ (void)std::{name}; }}\n" for name in sorted(names))
include = [f"-imsvc{sysroot}/include/{part}" for part in ("vcruntime", "ucrt", "um")]
compiler = ["clang-cl", "--target=x86_64-pc-windows-msvc", "-fms-compatibility-version=19.38", "/std:c++17", "-DWINE_UNICODE_NATIVE"]
messages = subprocess.run(
    [*compiler, "-Xclang", "-isystem", "-Xclang", str(libcxx), *include, "/clang:-ferror-limit=0", "-fsyntax-only", "--", "names.cpp"],
    capture_output=True,
    text=True,
).stderr
missing = "reference to unresolved using declaration|no member named"
lacking = set(re.findall(rf"error: (?:{missing}).*\n.*\(void\)std::(\w+);", messages))
others = [line for line in messages.splitlines() if re.search(r"error:", line) and "names.cpp" not in line]
if lacking != LACKING or others:
    print("\n".join(others), file=sys.stderr)
    sys.exit(f"lacking in std, not as expected: {sorted(lacking ^ LACKING)}")
print(f"{len(names)} names of the C runtime, {len(lacking)} known to be lacking")
