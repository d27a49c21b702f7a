# TVM's runtime @VERSION@ for @TARGET@, and the tvm_ffi that it was built on:
#
#     find_package(tvm_runtime CONFIG REQUIRED)    # with CMAKE_PREFIX_PATH at the directory above `lib`
#     target_link_libraries(mine PRIVATE tvm_runtime::shared)
#
# tvm_runtime::header   the headers, which want C++17
# tvm_runtime::shared   the headers and the library, with tvm_ffi::shared
#
# Every path is relative to this file: the directory can be moved.
include(CMakeFindDependencyMacro)
get_filename_component(_tvm_runtime_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
# A process must have one tvm_ffi, and this library wants that of its own release: it is the one beside it.
if(NOT TARGET tvm_ffi::shared)
  find_dependency(tvm_ffi @FFI_NUMBER@ EXACT CONFIG PATHS "${_tvm_runtime_prefix}/lib/cmake/tvm_ffi" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
endif()
include("${CMAKE_CURRENT_LIST_DIR}/library.cmake")

if(NOT TARGET tvm_runtime::header)
  add_library(tvm_runtime::header INTERFACE IMPORTED)
  set_target_properties(tvm_runtime::header PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${_tvm_runtime_prefix}/include"
    INTERFACE_LINK_LIBRARIES tvm_ffi::header)
  if(WIN32)
    # windows.h would define `min`, `max` and more, which the headers use as names.
    set_target_properties(tvm_runtime::header PROPERTIES INTERFACE_COMPILE_DEFINITIONS "NOMINMAX;WIN32_LEAN_AND_MEAN")
  endif()
  _tvm_import_library(tvm_runtime::shared "${_tvm_runtime_prefix}" tvm_runtime)
  set_target_properties(tvm_runtime::shared PROPERTIES INTERFACE_LINK_LIBRARIES "tvm_runtime::header;tvm_ffi::shared")
endif()
unset(_tvm_runtime_prefix)
