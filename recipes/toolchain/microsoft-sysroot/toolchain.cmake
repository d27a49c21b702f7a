# CMake toolchain for x86_64-pc-windows-msvc with clang-cl 18 and Microsoft's SDK, which stands beside this file's directory. All
# but the flags is the open sysroot's: the tools, and one C runtime, the DLL (/MD).
include("${CMAKE_CURRENT_LIST_DIR}/open-toolchain.cmake")

# 19.43 is the compiler of Visual Studio 17.13, whose headers these are.
set(include "-imsvc ${sysroot}/include/vcruntime -imsvc ${sysroot}/include/ucrt -imsvc ${sysroot}/include/um")
set(common "-fms-compatibility-version=19.43 ${include} -imsvc ${sysroot}/include/shared -D_CRT_SECURE_NO_WARNINGS /Brepro")
set(CMAKE_C_FLAGS_INIT "${common}")
set(CMAKE_CXX_FLAGS_INIT "-Wno-unknown-attributes ${common} /EHsc /GR")
string(APPEND CMAKE_RC_FLAGS_INIT " /I${sysroot}/include/shared")

# The C++ library is in Microsoft's own import libraries.
foreach(kind EXE SHARED MODULE)
  string(REPLACE " libc++.lib" "" CMAKE_${kind}_LINKER_FLAGS_INIT "${CMAKE_${kind}_LINKER_FLAGS_INIT}")
endforeach()
