// The lines of a bundle, from a file that may be cut off or be something else. Not synchronised.
#pragma once

#include <cstdint>
#include <istream>
#include <string>

#include "betrace/kms/result.h"

namespace betrace::kms {

class BundleLines {
 public:
  // `file`: read without its exceptions; must outlive this.
  explicit BundleLines(std::istream& file) : file_(file) {}

  // The first, or a further one, without its end; false after the last. Errors: invalid_argument
  // for a line that is too long and for what cannot be read: a folder, a disk that fails.
  Result<bool> next(std::string& line);
  // The last line had no end.
  bool cut_off() const { return cut_off_; }

 private:
  Result<bool> read(std::string& line);

  std::istream& file_;
  std::uint64_t lines_ = 0;
  bool cut_off_ = false;
};

}  // namespace betrace::kms
