/* Function-local statics that several threads may reach at once (/Zc:threadSafeInit).

   For each such variable the compiler emits a guard: 0 before, -1 while one thread initialises it, otherwise the epoch
   in which it was done. The generated code compares the guard with the thread's own epoch and calls us only when the
   guard is newer. */
#include "runtime.h"

#define EPOCH_START (-2147483647 - 1)
#define FOR_EVER 0xffffffffu

static void *lock, *done; /* SRWLOCK_INIT and CONDITION_VARIABLE_INIT are null */

/* Contract: read by generated code. */
int _Init_global_epoch = EPOCH_START;
__declspec(thread) int _Init_thread_epoch = EPOCH_START;

/* Contract: on return the guard is -1 and the caller initialises the variable, or it is an epoch and nothing is left to
   do. */
void _Init_thread_header(int *guard) {
  AcquireSRWLockExclusive(&lock);
  for (;;) {
    if (*guard == 0) {
      *guard = -1;
      break;
    }
    if (*guard != -1) {
      _Init_thread_epoch = _Init_global_epoch;
      break;
    }
    SleepConditionVariableSRW(&done, &lock, FOR_EVER, 0);
  }
  ReleaseSRWLockExclusive(&lock);
}

/* Contract: the variable is initialised. */
void _Init_thread_footer(int *guard) {
  AcquireSRWLockExclusive(&lock);
  *guard = ++_Init_global_epoch;
  _Init_thread_epoch = _Init_global_epoch;
  ReleaseSRWLockExclusive(&lock);
  WakeAllConditionVariable(&done);
}

/* Contract: the initialiser threw; another thread, or the next call, tries again. */
void _Init_thread_abort(int *guard) {
  AcquireSRWLockExclusive(&lock);
  *guard = 0;
  ReleaseSRWLockExclusive(&lock);
  WakeAllConditionVariable(&done);
}
