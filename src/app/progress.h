// A progress bar on a terminal: one line that is drawn again and again; nothing elsewhere.
#pragma once

#include <cstdint>
#include <string>

#include "app/world.h"

namespace betrace::kms {

// "[######........................] 20%  2/10"
std::string progress_bar(std::uint64_t done, std::uint64_t total);

class Progress {
 public:
  explicit Progress(const World& world) : world_(world) {}
  ~Progress() { end(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void draw(const std::string& text);
  void end();

 private:
  const World& world_;
  std::size_t width_ = 0;
};

}  // namespace betrace::kms
