// What the fuzzers share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

namespace betrace::kms {

inline void must(bool condition) {
  if (!condition) std::abort();
}

// An input, taken apart from its front; behind its end there are zeros.
struct Input {
  std::string_view rest;

  Input(const std::uint8_t* data, std::size_t size)
      : rest(reinterpret_cast<const char*>(data), size) {}
  std::string_view take(std::size_t count) {
    const auto taken = rest.substr(0, count);
    rest.remove_prefix(taken.size());
    return taken;
  }
  template <class T>
  T number() {
    T read{};
    const auto bytes = take(sizeof read);
    if (!bytes.empty()) std::memcpy(&read, bytes.data(), bytes.size());
    return read;
  }
  std::uint8_t byte() { return number<std::uint8_t>(); }
};

// Into the folder of the corpus, libFuzzer's last argument, before libFuzzer reads it.
inline void plant(int argc, char** argv, const std::vector<std::string>& seeds) {
  const std::filesystem::path folder = argv[argc - 1];
  if (argc < 2 || !std::filesystem::is_directory(folder)) return;
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    std::ofstream(folder / fmt::format("seed-{}", i), std::ios::binary) << seeds[i];
  }
}

}  // namespace betrace::kms
