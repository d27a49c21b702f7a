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
  const char16_t text[] = u"c";
  const mbstate_t state = {0};
  return sizeof(text) == 4 && mbsinit(&state) && isgreater(2.0, 1.0) && roundl(0.5L) == 1;
}
