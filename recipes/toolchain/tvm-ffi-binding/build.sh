# Translates the binding. Cython writes the paths of its sources into comments and error messages, so they are relative ones.
cd /build/src/tvm-ffi
PYTHONPATH=/build/src/cython PYTHONDONTWRITEBYTECODE=1 python3 -m cython --cplus python/tvm_ffi/cython/core.pyx \
    -o /build/out/core.cpp --module-name tvm_ffi.core
