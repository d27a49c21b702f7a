// Directories as users have them. Names are UTF-8 here as everywhere in tvm-ffi.
#pragma once
#include <filesystem>
#include <functional>
#include <string>

#include "check.h"

struct Place {
  std::string name;       // for the report, ASCII
  std::string directory;  // below the current one
};

inline std::vector<Place> places() {
  std::string deep = "places/deep";
  while (deep.size() < 300) deep += "/a-directory-of-some-length";
  return {{"plain", "places/plain"},
          {"spaces", "places/with two  spaces"},
          {"latin", "places/mod\xc3\xa8les de Jos\xc3\xa9"},
          {"cyrillic", "places/\xd0\xbc\xd0\xbe\xd0\xb4\xd0\xb5\xd0\xbb\xd0\xb8"},
          {"han and emoji", "places/\xe6\xa8\xa1\xe5\x9e\x8b \xf0\x9f\x99\x82"},
          {"300 characters", deep}};
}

// What std::filesystem opens: on Windows with the prefix that lifts its limit of 260 characters.
inline std::filesystem::path system_path(const std::string& path) {
#ifdef _WIN32
  const std::filesystem::path full = std::filesystem::absolute(std::filesystem::u8path(path)).make_preferred();
  return std::filesystem::path(L"\\\\?\\" + full.wstring());
#else
  return std::filesystem::u8path(path);
#endif
}

// Runs a check in each of them, in a directory that is there and empty; the check gets the directory's name.
inline void everywhere(const std::string& what, const std::function<bool(const std::string&)>& holds) {
  for (const Place& place : places()) {
    std::filesystem::create_directories(system_path(place.directory));
    std::string reason;
    bool result = false;
    try {
      result = holds(place.directory);
    } catch (const std::exception& error) {
      reason = std::string(": ") + error.what();
    }
    check(what + ", " + place.name + reason, result);
  }
}
