/* Contract: the linker's default entry point for console programs with main. */
#define MAIN main
#define ENTRY mainCRTStartup
#define CHARACTER char
#define CONFIGURE_ARGUMENTS _configure_narrow_argv
#define INITIALIZE_ENVIRONMENT _initialize_narrow_environment
#define ARGUMENTS __p___argv
#define ENVIRONMENT _get_initial_narrow_environment
#include "exe_startup.inc"
