// Secrets of the configuration that are kept in files of their own: Kubernetes, systemd
// credentials. Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// What a warning of a file that others may read contains.
inline constexpr std::string_view readable_secret_warning = "is readable by others";

// The content without its line end. Warns when others than owner and group may read the file.
// Errors: invalid_argument with what is wrong with the file, never its content.
Result<SecretBytes> read_secret_file(const std::string& path, std::vector<std::string>& warnings);

}  // namespace betrace::kms
