// The mode that LLVM is compiled in: _HAS_EXCEPTIONS=0, /EHs-c-, /GR-.
#include "check.h"
#include <memory>
#include <new>
#include <string>
#include <vector>

struct Static {
  std::string text = "constructed";
};

int main() {
  static Static object;
  check("function_static", object.text == "constructed");
  std::vector<std::unique_ptr<std::string>> strings;
  for (int i = 0; i < 1000; ++i) strings.push_back(std::make_unique<std::string>(std::to_string(i)));
  check("containers", *strings.back() == "999");
  volatile size_t size = size_t(1) << 62;
  check("nothrow_new", ::operator new(size, std::nothrow) == nullptr);
  return summary();
}
