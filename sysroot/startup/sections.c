/* The ends of the tables of initializers.

   The compiler puts pointers to initializers into sections `.CRT$X??`; the linker sorts grouped sections by what
   follows the dollar sign (PE/COFF specification, "Grouped Sections"), so that everything lies between our ends:
     XIA..XIZ  C initializers that may fail        XCA..XCZ  C++ constructors of globals
     XPA..XPZ  pre-terminators                     XTA..XTZ  terminators
     XDA..XDZ  constructors of thread_local variables */
#include "runtime.h"

#pragma section(".CRT$XIA", long, read)
#pragma section(".CRT$XIZ", long, read)
#pragma section(".CRT$XCA", long, read)
#pragma section(".CRT$XCZ", long, read)
#pragma section(".CRT$XPA", long, read)
#pragma section(".CRT$XPZ", long, read)
#pragma section(".CRT$XTA", long, read)
#pragma section(".CRT$XTZ", long, read)
#pragma section(".CRT$XDA", long, read)
#pragma section(".CRT$XDZ", long, read)

#define IN(section) __declspec(allocate(section))
IN(".CRT$XIA") initializer_with_status __xi_a[] = {0};
IN(".CRT$XIZ") initializer_with_status __xi_z[] = {0};
IN(".CRT$XCA") procedure __xc_a[] = {0};
IN(".CRT$XCZ") procedure __xc_z[] = {0};
IN(".CRT$XPA") procedure __xp_a[] = {0};
IN(".CRT$XPZ") procedure __xp_z[] = {0};
IN(".CRT$XTA") procedure __xt_a[] = {0};
IN(".CRT$XTZ") procedure __xt_z[] = {0};
IN(".CRT$XDA") procedure __xd_a[] = {0};
IN(".CRT$XDZ") procedure __xd_z[] = {0};

/* The tables are constant: they belong to the read-only data. */
#pragma comment(linker, "/merge:.CRT=.rdata")
