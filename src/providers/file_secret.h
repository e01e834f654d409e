// A token that another program keeps in a file and renews there (Vault Agent, Kubernetes, a cloud's
// sidecar): read anew each time. Used by one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

class FileSecret {
 public:
  // `what` is for messages: "vault.token-file".
  FileSecret(std::string what, std::string path) : what_(std::move(what)), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  // The content without white space at its ends, at most 64 KiB. Errors: kms_access_denied when the
  // file cannot be read or is empty, never with its content.
  Result<WipedString> read();
  // Whether the file has been written, made or removed since read().
  bool has_changed() const { return stamp() != stamp_; }

 private:
  std::vector<std::int64_t> stamp() const;  // what stat(2) says

  const std::string what_, path_;
  std::vector<std::int64_t> stamp_;
};

}  // namespace betrace::kms
