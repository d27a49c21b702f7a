/* Thread-local storage: the image's TLS directory, and constructors and destructors of thread_local variables. */
#include "runtime.h"

#pragma section(".tls", long, read, write)
#pragma section(".tls$ZZZ", long, read, write)
#pragma section(".CRT$XLA", long, read)
#pragma section(".CRT$XLC", long, read)
#pragma section(".CRT$XLD", long, read)
#pragma section(".CRT$XLZ", long, read)
#pragma section(".rdata$T", long, read)
#define IN(section) __declspec(allocate(section))

/* Contract: the loader writes the module's index here; generated code reads it. */
unsigned long _tls_index;

/* The template of a thread's variables lies between these two. */
IN(".tls") char _tls_start = 0;
IN(".tls$ZZZ") char _tls_end = 0;

/* The callbacks lie between these two; the list ends with a null. */
IN(".CRT$XLA") tls_callback __xl_a = 0;
IN(".CRT$XLZ") tls_callback __xl_z = 0;

/* Contract: PE/COFF specification, "The TLS Directory"; the linker finds it by this name. */
struct tls_directory {
  void *start, *end;
  unsigned long *index;
  tls_callback *callbacks;
  unsigned zero_fill, characteristics;
};
IN(".rdata$T") const struct tls_directory _tls_used = {&_tls_start, &_tls_end, &_tls_index, &__xl_a + 1, 0, 0};

/* Contract: generated code tests it before it touches an extern thread_local, and calls __dyn_tls_on_demand_init when
   it is 0: this thread's constructors have not run yet. */
__declspec(thread) char __tls_guard = 0;

/* This thread's destructors, the last registered first. */
enum { BLOCK = 30 };
struct destructors {
  struct destructors *next;
  int count;
  procedure functions[BLOCK];
};
static __declspec(thread) struct destructors *destructors;

void startup_construct_thread_locals(void) {
  if (__tls_guard) return;
  __tls_guard = 1;
  for (procedure *function = __xd_a; function < __xd_z; ++function)
    if (*function) (*function)();
}

/* Contract: see __tls_guard. */
void __dyn_tls_on_demand_init(void) { startup_construct_thread_locals(); }

/* Contract: constructors of thread_local variables register the destructors with it. */
int __tlregdtor(procedure function) {
  struct destructors *block = destructors;
  if (!block || block->count == BLOCK) {
    block = (struct destructors *)malloc(sizeof *block);
    if (!block) return -1;
    block->next = destructors;
    block->count = 0;
    destructors = block;
  }
  block->functions[block->count++] = function;
  return 0;
}

void startup_destroy_thread_locals(void) {
  for (struct destructors *block; (block = destructors);) {
    while (block->count) {
      /* A destructor may register more. */
      procedure function = block->functions[--block->count];
      if (function) function();
    }
    if (destructors == block && !block->count) {
      destructors = block->next;
      free(block);
    }
  }
}

/* Contract: clang refers to this name from objects with thread_local constructors, so that this file is linked. The
   start-up code does the first thread itself. */
void __stdcall __dyn_tls_init(void *module, unsigned long reason, void *reserved) {
  (void)module;
  (void)reserved;
  if (reason == THREAD_ATTACH) startup_construct_thread_locals();
}

static void __stdcall on_thread_exit(void *module, unsigned long reason, void *reserved) {
  (void)module;
  (void)reserved;
  if (reason == THREAD_DETACH) startup_destroy_thread_locals();
}

IN(".CRT$XLC") tls_callback startup_thread_begins = __dyn_tls_init;
IN(".CRT$XLD") tls_callback startup_thread_ends = on_thread_exit;
