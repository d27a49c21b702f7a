/* Wrapper over Wine's bcrypt.h */
#pragma once
#include_next <bcrypt.h>
/* Wine's has no such test of a status; this is how Microsoft documents it. */
#ifndef BCRYPT_SUCCESS
#define BCRYPT_SUCCESS(status) (((NTSTATUS)(status)) >= 0)
#endif
