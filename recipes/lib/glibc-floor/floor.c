/* Functions of glibc that have no older version under their name. They are hidden in each library that uses them. */
#include <sys/stat.h>

/* Until glibc 2.33 these were inline calls of functions that take the layout's version, and still are there. */
__asm__(".symver __fxstat,__fxstat@GLIBC_2.2.5");
__asm__(".symver __lxstat,__lxstat@GLIBC_2.2.5");
__asm__(".symver __xstat,__xstat@GLIBC_2.2.5");
int __fxstat(int version, int file, struct stat *status);
int __lxstat(int version, const char *path, struct stat *status);
int __xstat(int version, const char *path, struct stat *status);
int fstat(int file, struct stat *status) { return __fxstat(1, file, status); }
int lstat(const char *path, struct stat *status) { return __lxstat(1, path, status); }
int stat(const char *path, struct stat *status) { return __xstat(1, path, status); }

/* Before glibc 2.32 nobody was told that a process has one thread only. */
char __libc_single_threaded = 0;
