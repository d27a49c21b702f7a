/* Wrapper over Wine's crtdbg.h: the report hook, which like all of the file does nothing without a debug C runtime. */
#include_next <crtdbg.h>
#ifndef _CrtSetReportHook
typedef int(__cdecl *_CRT_REPORT_HOOK)(int, char *, int *);
#define _CrtSetReportHook(hook) ((_CRT_REPORT_HOOK)0)
#endif
