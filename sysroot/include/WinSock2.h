/* Sources for Windows spell this name in several ways. */
#include <winsock2.h>
