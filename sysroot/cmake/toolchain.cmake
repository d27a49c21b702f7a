# CMake toolchain for x86_64-pc-windows-msvc with clang-cl 18 and this sysroot, which stands beside this file's directory.
get_filename_component(sysroot "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(llvm /usr/lib/llvm-18/bin)

set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(CMAKE_C_COMPILER ${llvm}/clang-cl)
set(CMAKE_CXX_COMPILER ${llvm}/clang-cl)
set(CMAKE_C_COMPILER_TARGET x86_64-pc-windows-msvc)
set(CMAKE_CXX_COMPILER_TARGET x86_64-pc-windows-msvc)
set(CMAKE_LINKER ${llvm}/lld-link)
set(CMAKE_AR ${llvm}/llvm-lib)
set(CMAKE_RC_COMPILER ${llvm}/llvm-rc)
set(CMAKE_MT ${llvm}/llvm-mt)
# There is no debug C runtime.
set(CMAKE_TRY_COMPILE_CONFIGURATION Release)
set(CMAKE_MSVC_RUNTIME_LIBRARY MultiThreadedDLL)

# Wine's headers hold both character types only with WINE_UNICODE_NATIVE. 19.38 is the compiler of Visual Studio 17.8.
set(include "-imsvc ${sysroot}/include/vcruntime -imsvc ${sysroot}/include/ucrt -imsvc ${sysroot}/include/um")
set(common "-fms-compatibility-version=19.38 ${include} -DWINE_UNICODE_NATIVE -D_CRT_SECURE_NO_WARNINGS /Brepro")
set(CMAKE_C_FLAGS_INIT "${common}")
# libc++ must stand before clang's own headers, which `-imsvc` comes after, and is not the project's to be warned about.
set(CMAKE_CXX_FLAGS_INIT "-Wno-unknown-attributes -Xclang -isystem -Xclang ${sysroot}/include/c++/v1 ${common} /EHsc /GR")
set(CMAKE_RC_FLAGS_INIT "/I${sysroot}/include/ucrt /I${sysroot}/include/um")

# llvm-mt lacks libxml2, without which it can't merge manifests; DLLs and console programs need none.
set(link "/Brepro /MANIFEST:NO /libpath:${sysroot}/lib libc++.lib")
set(CMAKE_EXE_LINKER_FLAGS_INIT "${link}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "${link}")
set(CMAKE_MODULE_LINKER_FLAGS_INIT "${link}")
