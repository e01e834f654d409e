#include "providers/addresses.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>
#include <unistd.h>

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

Result<std::string> readable_file(std::string_view from, std::string path, std::string_view what) {
  if (path.empty() || ::access(path.c_str(), R_OK) == 0) return path;
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}={}: {}; accepted is {}", from, path,
                          std::generic_category().message(errno), what));
}

std::string_view host_of(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  url.remove_prefix(scheme + 3);
  if (url.starts_with('[')) return url.substr(0, url.find(']') + 1);
  return url.substr(0, url.find_first_of(":/"));
}

bool is_loopback(std::string_view host) {
  const auto part_of_ipv4 = [](char c) { return (c >= '0' && c <= '9') || c == '.'; };
  return host == "localhost" || host.ends_with(".localhost") || host == "[::1]" ||
         (host.starts_with("127.") && std::ranges::all_of(host, part_of_ipv4));
}

bool shows_secrets(std::string_view url) {
  return url.starts_with("http://") && !is_loopback(host_of(url));
}

}  // namespace betrace::kms
