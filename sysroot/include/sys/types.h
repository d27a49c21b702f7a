/* Wrapper over Wine's sys/types.h: Microsoft's has no ssize_t */
#ifndef _SSIZE_T_DEFINED
#define _SSIZE_T_DEFINED
#endif
#include_next <sys/types.h>
