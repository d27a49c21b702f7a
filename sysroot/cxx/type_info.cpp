// Contract: every std::type_info in an image shares this class' virtual table, `??_7type_info@@6B@`, which each image
// holds itself even with the runtime in DLLs. Compiled with /GR-, or it would refer to its own type_info.
#include <vcruntime_typeinfo.h>

// The statement keeps the store of the table's address, so that the table is emitted here.
type_info::~type_info() noexcept { __asm__ volatile("" : : "r"(this) : "memory"); }

// Contract of __std_type_info_name: the list of names that it has demangled, to be freed with the image.
__type_info_node __type_info_root_node;
