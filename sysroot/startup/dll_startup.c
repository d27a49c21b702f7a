/* The entry point of DLLs. Contract: the linker's default entry point for /DLL; called as DllMain is. */
#include "runtime.h"

extern int __stdcall DllMain(void *module, unsigned long reason, void *reserved);

int __stdcall _DllMainCRTStartup(void *module, unsigned long reason, void *reserved) {
  int fine = 1;
  if (reason == PROCESS_ATTACH) {
    startup_initialize_cookie();
    startup_is_dll = 1;
    if (_initialize_onexit_table(&startup_onexit)) return 0;
    if (_initterm_e(__xi_a, __xi_z)) return 0;
    _initterm(__xc_a, __xc_z);
    startup_construct_thread_locals();
  }
  fine = DllMain(module, reason, reserved);
  /* What was constructed is destroyed on unloading, and when DllMain refuses to be loaded. */
  if (reason == PROCESS_DETACH || (reason == PROCESS_ATTACH && !fine)) {
    startup_destroy_thread_locals();
    _execute_onexit_table(&startup_onexit);
    _initterm(__xp_a, __xp_z);
    _initterm(__xt_a, __xt_z);
  }
  return fine;
}
