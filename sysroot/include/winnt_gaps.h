/* What Wine 10's headers of winnt.h and winbase.h lack. Each name is documented for windows.h by Microsoft; kernel32.dll
   exports the functions since Windows 7, Wine's as well. */
#pragma once
#include <intrin.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef _WIN64
/* Adds atomically and gives the sum back (InterlockedExchangeAdd64 gives the value before). */
static __inline long long _InlineInterlockedAdd64(long long volatile *addend, long long value) {
  return _InterlockedExchangeAdd64(addend, value) + value;
}
#ifndef InterlockedAdd64
#define InterlockedAdd64 _InlineInterlockedAdd64
#endif
#endif

/* Writes the registers of the caller to a context, to start a walk over the stack from. */
__declspec(dllimport) void __stdcall RtlCaptureContext(PCONTEXT);

/* Processor groups of a process and a thread, on machines with more than 64 processors. */
__declspec(dllimport) BOOL __stdcall GetProcessGroupAffinity(HANDLE process, PUSHORT count, PUSHORT groups);
__declspec(dllimport) BOOL __stdcall GetThreadGroupAffinity(HANDLE thread, PGROUP_AFFINITY affinity);
__declspec(dllimport) BOOL __stdcall SetThreadGroupAffinity(HANDLE thread, const GROUP_AFFINITY *affinity,
                                                            PGROUP_AFFINITY previous);

/* The smallest large page, in bytes; 0 when the processor has none. */
__declspec(dllimport) SIZE_T __stdcall GetLargePageMinimum(void);

#ifdef __cplusplus
}
#endif

/* SetThreadPriority: between the two the thread's memory and disk accesses have low priority as well. */
#ifndef THREAD_MODE_BACKGROUND_BEGIN
#define THREAD_MODE_BACKGROUND_BEGIN 0x00010000
#define THREAD_MODE_BACKGROUND_END 0x00020000
#endif

/* excpt.h: what a filter of __except and a block of __finally may ask. They are the compiler's own names; Wine's
   header has these only where it is told to use the compiler's exceptions. */
#ifndef GetExceptionCode
#define GetExceptionCode _exception_code
#define GetExceptionInformation (struct _EXCEPTION_POINTERS *)_exception_info
#define AbnormalTermination _abnormal_termination
#endif
