# tvm_ffi @VERSION@ for @TARGET@:
#
#     find_package(tvm_ffi CONFIG REQUIRED)        # with CMAKE_PREFIX_PATH at the directory above `lib`
#     target_link_libraries(mine PRIVATE tvm_ffi::shared)
#
# tvm_ffi::header   the headers, which want C++17
# tvm_ffi::shared   the headers and the library
# tvm_ffi::testing  the library with functions for tests, where it is there
#
# Every path is relative to this file: the directory can be moved.
get_filename_component(_tvm_ffi_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
include("${CMAKE_CURRENT_LIST_DIR}/library.cmake")

if(NOT TARGET tvm_ffi::header)
  add_library(tvm_ffi::header INTERFACE IMPORTED)
  set_target_properties(tvm_ffi::header PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_tvm_ffi_prefix}/include")
  target_compile_features(tvm_ffi::header INTERFACE cxx_std_17)
  _tvm_import_library(tvm_ffi::shared "${_tvm_ffi_prefix}" tvm_ffi)
  set_target_properties(tvm_ffi::shared PROPERTIES INTERFACE_LINK_LIBRARIES tvm_ffi::header)
  if(EXISTS "${_tvm_ffi_prefix}/lib/tvm_ffi_testing.lib" OR EXISTS "${_tvm_ffi_prefix}/lib/libtvm_ffi_testing.so")
    _tvm_import_library(tvm_ffi::testing "${_tvm_ffi_prefix}" tvm_ffi_testing)
    set_target_properties(tvm_ffi::testing PROPERTIES INTERFACE_LINK_LIBRARIES tvm_ffi::shared)
  endif()
endif()
unset(_tvm_ffi_prefix)
