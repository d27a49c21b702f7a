// The headers that the sysroot wraps, as C reads them.
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uchar.h>
#include <wchar.h>

#include "c_runtime.h"

int c_headers(void) {
  char16_t unit = 0;
  mbstate_t state = {0};
  return mbrtoc16(&unit, "c", 1, &state) == 1 && unit == u'c' && isgreater(2.0, 1.0) && roundl(0.5L) == 1;
}
