/* Stands in for the compiler's vcruntime.h: Wine's corecrt.h has its types and macros. _HAS_EXCEPTIONS is 0 in code that is
   compiled without exceptions, as LLVM is; it says so itself. */
#pragma once
#include <corecrt.h>
#ifndef _HAS_EXCEPTIONS
#define _HAS_EXCEPTIONS 1
#endif
