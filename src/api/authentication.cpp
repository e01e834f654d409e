#include "api/authentication.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::string_view scheme = "bearer ";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view bearer_token(const Request& request) {
  const auto value = request.header("Authorization");
  if (value.size() < scheme.size() ||
      !equal_ignoring_case(value.substr(0, scheme.size()), scheme)) {
    return {};
  }
  auto token = value.substr(scheme.size());
  while (token.starts_with(' ')) token.remove_prefix(1);
  while (token.ends_with(' ')) token.remove_suffix(1);
  return token;
}

// The time depends on the length of what was sent, not on the token.
bool matches(std::string_view candidate, const SecretBytes& token) {
  if (token.empty()) return false;
  const auto sent = as_bytes(candidate);
  const bool same_size = sent.size() == token.size();
  const auto other = same_size ? token.expose() : sent;
  return constant_time_equal(sent, other) && same_size;
}

// "localhost:8080" → "localhost", "[::1]:80" → "[::1]".
std::string_view without_port(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool is_loopback_name(std::string_view host) {
  if (equal_ignoring_case(host, "localhost") || host == "[::1]") return true;
  if (!host.starts_with("127.")) return false;
  return std::ranges::all_of(host, [](char c) { return c == '.' || (c >= '0' && c <= '9'); }) &&
         std::ranges::count(host, '.') == 3;
}

bool is_own_origin(std::string_view origin, std::string_view host) {
  const auto scheme_end = origin.find("://");
  return scheme_end != std::string_view::npos &&
         equal_ignoring_case(origin.substr(scheme_end + 3), host);
}

std::string how_to_authenticate(const Request& request, const ApiSettings& settings) {
  std::string text =
      "send 'Authorization: Bearer TOKEN'; the token is the value of ADMIN_TOKEN or "
      "betrace.admin.token, or stands in the token file in the data directory";
  if (request.peer_is_loopback && !settings.admin_token_place.empty()) {
    text += fmt::format(" (here: {})", settings.admin_token_place);
  }
  return text;
}

}  // namespace

std::optional<std::string> sign_of_remoteness(const Request& request) {
  if (!request.peer_is_loopback) return "another address";
  const auto host = request.header("Host");
  for (const auto& [name, value] : request.headers) {
    constexpr std::string_view forwarded = "x-forwarded-";
    if (equal_ignoring_case(name, "forwarded") ||
        equal_ignoring_case(name.substr(0, forwarded.size()), forwarded)) {
      return fmt::format("the header {}", name);
    }
    if (equal_ignoring_case(name, "host") && !is_loopback_name(without_port(value))) {
      return "a Host other than localhost";
    }
    if (equal_ignoring_case(name, "origin") && !is_own_origin(value, host)) {
      return "the Origin of another site";
    }
  }
  return std::nullopt;
}

bool has_admin_token(const Request& request, const ApiSettings& settings) {
  const auto token = bearer_token(request);
  return !token.empty() && matches(token, settings.admin_token);
}

Result<Principal::Kind> authenticate(const Request& request, Permission permission,
                                     const ApiSettings& settings) {
  if (permission == Permission::none) return Principal::Kind::anonymous;
  if (has_admin_token(request, settings)) return Principal::Kind::admin;

  std::string reason = "this needs the admin token";
  if (!request.header("Authorization").empty()) {
    reason = "the Authorization header does not carry the admin token";
  } else if (permission == Permission::public_keys && settings.public_keys_anonymous) {
    return Principal::Kind::anonymous;
  } else if (permission == Permission::anonymous_read) {
    if (settings.anonymous == AnonymousRead::always) return Principal::Kind::anonymous;
    if (settings.anonymous == AnonymousRead::loopback) {
      const auto remote = sign_of_remoteness(request);
      if (!remote) return Principal::Kind::anonymous;
      reason = fmt::format(
          "without the admin token this answers callers on this machine only, and the request "
          "comes with {}",
          *remote);
    }
  }
  return fail(ErrorCode::unauthenticated,
              fmt::format("{}: {}", reason, how_to_authenticate(request, settings)));
}

}  // namespace betrace::kms
