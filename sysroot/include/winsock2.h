/* Wrapper over Wine's winsock2.h */
#pragma once
#include_next <winsock2.h>
/* Wine leaves the struct of WSAPOLLFD without its tag. */
#ifdef __cplusplus
struct pollfd : WSAPOLLFD {};
#endif
