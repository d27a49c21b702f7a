/* Stands in for the compiler's vcruntime.h */
#pragma once
#include <corecrt.h>
#ifndef _HAS_EXCEPTIONS
#define _HAS_EXCEPTIONS 1
#endif
