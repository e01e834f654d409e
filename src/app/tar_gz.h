// A gzipped tar archive (POSIX.1-1988 ustar, RFC 1952) of a few texts, on zlib. A library for
// archives would bring an XML parser and its tables into every daemon. Not thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "betrace/kms/result.h"

namespace betrace::kms {

class TarGz {
 public:
  // A new file, mode 0600. Errors: already_exists; invalid_argument with the system's words.
  static Result<TarGz> create(const std::string& file);

  // `name` has at most 100 bytes; `text` under 8 GiB. Errors: as create(), e.g. a full disk.
  Status add(std::string_view name, std::string_view text, std::chrono::seconds modified);
  // Ends the archive and brings it to the disk; without it the file is removed again.
  Status finish();

 private:
  struct Writer;
  explicit TarGz(std::shared_ptr<Writer> writer) : writer_(std::move(writer)) {}
  std::shared_ptr<Writer> writer_;
};

}  // namespace betrace::kms
