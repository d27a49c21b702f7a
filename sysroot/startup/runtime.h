/* What the start-up code uses of the Universal CRT, VCRuntime and kernel32, and what its files share.

   Declared here rather than taken from Wine's headers, so that the start-up code depends on documented exports alone. */
#pragma once
#include <stddef.h>

/* Everything that is linked with the start-up code needs these three. */
#pragma comment(lib, "ucrt.lib")
#pragma comment(lib, "vcruntime.lib")
#pragma comment(lib, "kernel32.lib")

#ifdef __cplusplus
extern "C" {
#endif

typedef int(__cdecl *initializer_with_status)(void);
typedef void(__cdecl *procedure)(void);
typedef void(__stdcall *tls_callback)(void *module, unsigned long reason, void *reserved);

/* The UCRT's table of functions to run at exit (process.h: _onexit_table_t). */
typedef struct {
  procedure *first, *last, *end;
} onexit_table;

/* Reasons of DllMain and of TLS callbacks (winnt.h). */
enum { PROCESS_DETACH = 0, PROCESS_ATTACH = 1, THREAD_ATTACH = 2, THREAD_DETACH = 3 };

#define IMPORT __declspec(dllimport)

/* Universal CRT */
IMPORT int _initialize_onexit_table(onexit_table *);
IMPORT int _register_onexit_function(onexit_table *, initializer_with_status);
IMPORT int _execute_onexit_table(onexit_table *);
IMPORT int _crt_atexit(procedure);
IMPORT void _register_thread_local_exe_atexit_callback(tls_callback);
IMPORT void _initterm(procedure *first, procedure *end);
IMPORT int _initterm_e(initializer_with_status *first, initializer_with_status *end);
IMPORT void _set_app_type(int);
IMPORT int _configure_narrow_argv(int);
IMPORT int _configure_wide_argv(int);
IMPORT int _initialize_narrow_environment(void);
IMPORT int _initialize_wide_environment(void);
IMPORT char **_get_initial_narrow_environment(void);
IMPORT wchar_t **_get_initial_wide_environment(void);
IMPORT int *__p___argc(void);
IMPORT char ***__p___argv(void);
IMPORT wchar_t ***__p___wargv(void);
IMPORT __declspec(noreturn) void exit(int);
IMPORT __declspec(noreturn) void _exit(int);
IMPORT int _seh_filter_exe(unsigned long, void *);
IMPORT __declspec(noreturn) void terminate(void);
IMPORT void *malloc(size_t);
IMPORT void free(void *);

/* kernel32 */
IMPORT void __stdcall AcquireSRWLockExclusive(void *);
IMPORT void __stdcall ReleaseSRWLockExclusive(void *);
IMPORT int __stdcall SleepConditionVariableSRW(void *, void *, unsigned long milliseconds, unsigned long flags);
IMPORT void __stdcall WakeAllConditionVariable(void *);
IMPORT void __stdcall GetSystemTimeAsFileTime(void *);
IMPORT unsigned long __stdcall GetCurrentThreadId(void);
IMPORT unsigned long __stdcall GetCurrentProcessId(void);
IMPORT int __stdcall QueryPerformanceCounter(void *);
IMPORT void *__stdcall SetUnhandledExceptionFilter(void *);

/* Ends of the tables that the compiler fills (sections.c). */
extern initializer_with_status __xi_a[], __xi_z[];
extern procedure __xc_a[], __xc_z[], __xp_a[], __xp_z[], __xt_a[], __xt_z[], __xd_a[], __xd_z[];

/* Whether this module is a DLL, and then its own table of functions to run when it is unloaded (onexit.c). */
extern int startup_is_dll;
extern onexit_table startup_onexit;

void startup_initialize_cookie(void);
void startup_construct_thread_locals(void);
void startup_destroy_thread_locals(void);

#ifdef __cplusplus
}
#endif
