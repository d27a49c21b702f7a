// What the sysroot's headers add to Wine's: each name compiles, links and does what is documented for it.
#include "system_headers.h"
#include "check.h"

#include <winsock2.h>
#include <afunix.h>
#include <crtdbg.h>
#include <time.h>
#include <windows.h>
#include <bcrypt.h>

static_assert(sizeof(sockaddr_un) == 110);
static_assert(THREAD_MODE_BACKGROUND_BEGIN == 0x10000 && THREAD_MODE_BACKGROUND_END == 0x20000);
static_assert(BCRYPT_SUCCESS(0) && BCRYPT_SUCCESS(0x40000000) && !BCRYPT_SUCCESS(0xC0000001));

extern "C" void __chkstk();
extern "C" void _alloca_probe();

static int is_access_violation(EXCEPTION_POINTERS *pointers) {
  return pointers->ExceptionRecord->ExceptionCode == EXCEPTION_ACCESS_VIOLATION && pointers->ContextRecord->Rip;
}

// clang guards calls alone: a fault in the function of the __try itself is not caught.
__declspec(noinline) static void fault() { *(volatile int *)nullptr = 1; }

static bool exception_information() {
  __try {
    fault();
  } __except (is_access_violation(GetExceptionInformation())) {
    return true;
  }
  return false;
}

static bool abnormal_termination() {
  volatile bool abnormal = true;
  __try {
    abnormal = false;
  } __finally {
    abnormal = AbnormalTermination();
  }
  return abnormal;
}

void system_headers() {
  // Compiled from language.rc.
  check("resource", FindResourceA(nullptr, MAKEINTRESOURCEA(VS_VERSION_INFO), MAKEINTRESOURCEA(16)) != nullptr);

  const time_t day = 86400;
  tm parts = {};
  check("gmtime_s", gmtime_s(&parts, &day) == 0 && parts.tm_year == 70 && parts.tm_yday == 1 && parts.tm_hour == 0);

  // Two functions have two addresses, says C++; these have one.
  void (*volatile probe)() = _alloca_probe;
  check("_alloca_probe", probe == __chkstk);

  long long counter = 40;
  check("InterlockedAdd64", InterlockedAdd64(&counter, 2) == 42 && counter == 42);

  CONTEXT context = {};
  RtlCaptureContext(&context);
  check("RtlCaptureContext", context.Rip != 0 && context.Rsp != 0);

  GROUP_AFFINITY affinity = {}, previous = {};
  check("GetThreadGroupAffinity", GetThreadGroupAffinity(GetCurrentThread(), &affinity) && affinity.Mask != 0);
  check("SetThreadGroupAffinity", SetThreadGroupAffinity(GetCurrentThread(), &affinity, &previous) &&
                                      previous.Mask == affinity.Mask);
  // How many groups a machine has, and whether it has large pages, is its own affair: only that these link is known.
  USHORT groups[64] = {}, count = 64;
  GetProcessGroupAffinity(GetCurrentProcess(), &count, groups);
  const SIZE_T large_page = GetLargePageMinimum();
  check("GetLargePageMinimum", (large_page & (large_page - 1)) == 0);

  check("GetExceptionInformation", exception_information());
  check("AbnormalTermination", !abnormal_termination());
  check("CrtSetReportHook", _CrtSetReportHook(nullptr) == nullptr);
}
