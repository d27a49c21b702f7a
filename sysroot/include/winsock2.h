/* Wrapper over Wine's winsock2.h */
#pragma once
#include_next <winsock2.h>
/* Wine leaves WSAPOLLFD's struct without its tag */
#ifdef __cplusplus
struct pollfd : WSAPOLLFD {};
#else
#define pollfd_is_WSAPOLLFD 1
#endif
