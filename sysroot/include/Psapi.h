/* Sources for Windows spell this name in several ways. */
#include <psapi.h>
