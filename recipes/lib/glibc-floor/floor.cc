// Functions of libstdc++ that GCC 8's lacks, as their headers define them. They are hidden in each library that uses them.
#include <new>
#include <sstream>

// GCC 9: constructors without an argument.
template std::basic_istringstream<char>::basic_istringstream();
template std::basic_ostringstream<char>::basic_ostringstream();
template std::basic_stringstream<char>::basic_stringstream();

namespace std {
// GCC 11.
void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}  // namespace std
