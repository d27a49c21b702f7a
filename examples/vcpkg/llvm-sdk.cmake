# Makes the development files of the official LLVM 18.1.8 for Windows usable where they were not built:
#
#     cmake -DLLVM=clang+llvm-18.1.8-x86_64-pc-windows-msvc -DVCPKG_INSTALLED=vcpkg_installed/x64-windows-static -P llvm-sdk.cmake
#
# LLVMDebugInfoPDB asks for diaguids.lib at the place where Visual Studio was installed on the machine that built LLVM, and
# LLVMWindowsManifest for libxml2s.lib. Running it again changes nothing.
cmake_minimum_required(VERSION 3.21)
foreach(variable LLVM VCPKG_INSTALLED)
  if(NOT DEFINED ${variable})
    message(FATAL_ERROR "give -D${variable}=DIR before -P")
  endif()
  get_filename_component(${variable} "${${variable}}" ABSOLUTE)
endforeach()
set(exports "${LLVM}/lib/cmake/llvm/LLVMExports.cmake")
set(libxml2 "${VCPKG_INSTALLED}/lib/libxml2.lib")
foreach(file "${exports}" "${libxml2}")
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "there is no ${file}")
  endif()
endforeach()

file(READ "${exports}" text)
string(REGEX REPLACE "\"[A-Z]:/[^\";]*/DIA SDK/lib/amd64/diaguids\\.lib;" "\"" patched "${text}")
if(patched MATCHES "diaguids")
  message(FATAL_ERROR "${exports} asks for diaguids.lib in another way than LLVM 18.1.8 does")
endif()
if(NOT patched STREQUAL text)
  file(WRITE "${exports}" "${patched}")
endif()
file(COPY_FILE "${libxml2}" "${LLVM}/lib/libxml2s.lib" ONLY_IF_DIFFERENT)
