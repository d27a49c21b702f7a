# What the triplets chain-load: the sysroot's toolchain, with the C runtime that the triplet asks for.
if(NOT DEFINED ENV{MSVC_SYSROOT})
  message(FATAL_ERROR "MSVC_SYSROOT must name a sysroot: `cargo xtask build msvc-sysroot -o DIR` writes one below DIR")
endif()
include("$ENV{MSVC_SYSROOT}/cmake/toolchain.cmake")
if(VCPKG_CRT_LINKAGE STREQUAL "static")
  set(CMAKE_MSVC_RUNTIME_LIBRARY MultiThreaded)
endif()
