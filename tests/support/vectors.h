// Reads a file of third-party vectors under tests/data: {"tests": [{…}, …]}, all values text, flags
// or numbers. Not thread-safe, and fails the process's test where a file is missing or malformed.
#pragma once

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

#include <boost/json.hpp>

#include "betrace/kms/key.h"

#include "base/encoding.h"

namespace betrace::kms::test {

// A file of tests/data as it is. Throws when there is none.
inline std::string data(std::string_view path) {
  const std::string full = std::string(BETRACE_TEST_DATA "/").append(path);
  std::ifstream file(full, std::ios::binary);
  if (!file) throw std::runtime_error("no vectors at " + full);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Throws when there is no such file, it is not JSON, or it says another count than it holds.
inline boost::json::array vectors(std::string_view path) {
  const auto document = boost::json::parse(data(path)).as_object();
  auto tests = document.at("tests").as_array();
  if (tests.empty() || document.at("count").to_number<std::size_t>() != tests.size()) {
    throw std::runtime_error("vectors missing in " + std::string(path));
  }
  return tests;
}

inline std::string_view text_of(const boost::json::value& test, std::string_view field) {
  return std::string_view(test.at(field).as_string());
}

// The bytes of a hexadecimal field. Throws when it is not hexadecimal.
inline Bytes bytes_of(const boost::json::value& test, std::string_view field) {
  return hex_decode(text_of(test, field)).value();
}

}  // namespace betrace::kms::test
