// The admin token: read where it is configured, else made once for the data directory. Daemon and
// client commands find it by the same rules, so that a command on the daemon's machine needs none.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

inline constexpr std::string_view admin_token_file_name = "admin-token";

// Creates `path` with mode 0700, its parents by the umask; one that exists stays as it is. Errors:
// invalid_argument names the path and the system's reason.
Status make_data_directory(const std::string& path, std::string_view key = "betrace.kms.data-dir");

// One or more visible ASCII characters, as a header can carry them.
bool is_token(std::string_view text);

// A file with one token and perhaps a line end. Errors: not_found; permission_denied;
// invalid_argument for what cannot be a token. Each names the file, none its content.
Result<WipedString> read_token_file(const std::string& path);

// As read_token_file(); when there is none, first makes it: 32 random bytes, base64url, mode 0600.
// Of several processes that try at once all answer the same token.
Result<WipedString> read_or_make_token_file(const std::string& path);

// Whether users other than the owner can read it.
bool readable_by_others(const std::string& path);

}  // namespace betrace::kms
