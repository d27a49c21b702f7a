/* The older name of <vcruntime_new.h>. */
#pragma once
#include <vcruntime_new.h>
