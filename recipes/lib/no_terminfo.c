/* Stands in for the four functions of libtinfo that LLVM asks whether a terminal has colours: there is none. Debian's static
   libtinfo is not position-independent, and a compiler library needs no terminal. */
int setupterm(const char *name, int file, int *error) {
  (void)name;
  (void)file;
  if (error) *error = -1;
  return -1;
}

void *set_curterm(void *terminal) {
  (void)terminal;
  return 0;
}

int del_curterm(void *terminal) {
  (void)terminal;
  return -1;
}

int tigetnum(const char *capability) {
  (void)capability;
  return -1;
}
