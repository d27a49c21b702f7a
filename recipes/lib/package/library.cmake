# _tvm_import_library(TARGET PREFIX NAME): a shared library of this archive, which was made for @TARGET@, as an imported target.
macro(_tvm_import_library target prefix name)
  add_library(${target} SHARED IMPORTED)
  if(WIN32)
    set_target_properties(${target} PROPERTIES
      IMPORTED_IMPLIB "${prefix}/lib/${name}.lib"
      IMPORTED_LOCATION "${prefix}/bin/${name}.dll")
  else()
    set_target_properties(${target} PROPERTIES
      IMPORTED_LOCATION "${prefix}/lib/lib${name}.so"
      IMPORTED_SONAME "lib${name}.so")
  endif()
endmacro()
