"""Functions across the border of Python and C++: what the package apache-tvm-ffi is for.

    python3.13 -m pip install apache_tvm_ffi-VERSION.whl
    python3.13 compose.py
"""

import tvm_ffi


@tvm_ffi.register_global_func("example.scale")
def scale(factor, values):
    """Called by name from any language that has tvm_ffi loaded."""
    return tvm_ffi.convert([factor * value for value in values])


def main():
    # By its name, as C++ or Java would ask for it.
    function = tvm_ffi.get_global_func("example.scale")
    scaled = function(3, tvm_ffi.convert([1, 2, 4]))
    print("scaled:", list(scaled))

    # An exception of Python's passes through compiled code and comes back as what it was.
    try:
        function(3, None)
    except TypeError as error:
        print("refused:", type(error).__name__)


if __name__ == "__main__":
    main()
