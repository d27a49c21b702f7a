#pragma once

#ifdef __cplusplus
void c_runtime();
extern "C"
#endif
int c_headers(void);
