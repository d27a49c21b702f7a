/* Addresses of Unix domain sockets (AF_UNIX in Windows 10 and later), as documented for Microsoft's afunix.h; Wine 10
   has no such header. */
#pragma once
#include <winsock2.h>

#define UNIX_PATH_MAX 108

typedef struct sockaddr_un {
  ADDRESS_FAMILY sun_family;
  char sun_path[UNIX_PATH_MAX];
} SOCKADDR_UN, *PSOCKADDR_UN;

/* WSAIoctl: the process identifier of the other end. */
#define SIO_AF_UNIX_GETPEERPID _WSAIOR(IOC_VENDOR, 256)
