/* Contract: the linker's default entry point for console programs with wmain. */
#define MAIN wmain
#define ENTRY wmainCRTStartup
#define CHARACTER wchar_t
#define CONFIGURE_ARGUMENTS _configure_wide_argv
#define INITIALIZE_ENVIRONMENT _initialize_wide_environment
#define ARGUMENTS __p___wargv
#define ENVIRONMENT _get_initial_wide_environment
#include "exe_startup.inc"
