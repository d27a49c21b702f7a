/* Sources for Windows spell this name in several ways. */
#include <ws2tcpip.h>
