/* Wrapper over Wine's windows.h */
#pragma once
#include_next <windows.h>
/* Wine declares FILE_DISPOSITION_INFO::DeleteFile before it defines the A/W macro; Microsoft's headers the other way round */
#undef DeleteFile
#include <winnt_gaps.h>
