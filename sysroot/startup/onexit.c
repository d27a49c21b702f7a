/* Functions to run at exit. In a program they go to the UCRT's list; a DLL has a list of its own, which is run when the
   DLL is unloaded and not only when the process ends. */
#include "runtime.h"

int startup_is_dll = 0;
onexit_table startup_onexit;

/* Contract: <stdlib.h> _onexit; gives the function back, or null when it can't be registered. */
initializer_with_status _onexit(initializer_with_status function) {
  int failed = startup_is_dll ? _register_onexit_function(&startup_onexit, function) : _crt_atexit((procedure)function);
  return failed ? 0 : function;
}

/* Contract: C's atexit. The compiler registers destructors of static objects with it. */
int atexit(procedure function) { return _onexit((initializer_with_status)function) ? 0 : -1; }
