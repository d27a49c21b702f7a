/* What Wine 10's winnt.h lacks */
#pragma once
#include <intrin.h>
#ifdef _WIN64
static __inline long long _InlineInterlockedAdd64(long long volatile *p, long long v) { return _InterlockedExchangeAdd64(p, v) + v; }
#ifndef InterlockedAdd64
#define InterlockedAdd64 _InlineInterlockedAdd64
#endif
#endif
#ifdef __cplusplus
extern "C" __declspec(dllimport) void __stdcall RtlCaptureContext(PCONTEXT);
#else
__declspec(dllimport) void __stdcall RtlCaptureContext(PCONTEXT);
#endif
/* The compiler's own names; Wine's excpt.h has these only where it is told to use the compiler's exceptions. */
#ifndef GetExceptionCode
#define GetExceptionCode _exception_code
#define GetExceptionInformation (struct _EXCEPTION_POINTERS *)_exception_info
#define AbnormalTermination _abnormal_termination
#endif
