// Addresses of providers' servers as settings have them. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "betrace/kms/result.h"

namespace betrace::kms {

// http:// or https:// with a host, without slashes at the end. `from` names the setting. Errors:
// invalid_argument, without what may be a password.
Result<std::string> checked_url(std::string_view from, std::string url);

// The host of such an address, in brackets when it is IPv6; empty when there is none.
std::string_view host_of(std::string_view url);
// This machine, by name or number: not 127.example.com.
bool is_loopback(std::string_view host);

// A file whose content somebody else reads, whose words for a missing one name no setting. `from`
// names the setting, `what` the content; empty: none. Errors: invalid_argument.
Result<std::string> readable_file(std::string_view from, std::string path, std::string_view what);

// Whether it is plain HTTP that leaves the machine.
bool shows_secrets(std::string_view url);

}  // namespace betrace::kms
