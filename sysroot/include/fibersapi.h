/* Wine's headers declare the Fls functions in winbase.h */
#pragma once
#include <winbase.h>
