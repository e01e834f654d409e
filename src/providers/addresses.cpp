#include "providers/addresses.h"

#include <algorithm>

#include <fmt/format.h>

namespace betrace::kms {

Result<std::string> checked_url(std::string_view from, std::string url) {
  const auto scheme = url.find("://");
  const bool http = url.starts_with("http://") || url.starts_with("https://");
  while (!url.empty() && url.back() == '/' && url.size() > scheme + 3) url.pop_back();
  const std::string_view host = http ? std::string_view(url).substr(scheme + 3) : "";
  const auto visible = [](char c) { return c > ' ' && c < '\x7f' && c != '?' && c != '#'; };
  if (!http || host.empty() || host.front() == '/' || host.find('@') != std::string_view::npos ||
      !std::ranges::all_of(host, visible)) {
    // What stands before an '@' may be a password.
    const bool quotable = url.find('@') == std::string::npos;
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}='{}': accepted is http:// or https:// with a host and perhaps a "
                            "port, e.g. http://localhost:4566",
                            from, quotable ? url : "…@…"));
  }
  return url;
}

// Plain HTTP that leaves the machine.
bool shows_secrets(std::string_view url) {
  if (!url.starts_with("http://")) return false;
  const std::string_view host = url.substr(7);
  for (const std::string_view own : {"localhost", "127.", "[::1]"}) {
    if (host.starts_with(own)) return false;
  }
  return true;
}

}  // namespace betrace::kms
