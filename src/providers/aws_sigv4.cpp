#include "providers/aws_sigv4.h"

#include <algorithm>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

std::string hex_of_hash(std::string_view text) { return hex_encode(sha256(as_bytes(text))); }

// Blanks at the ends are nothing, and several are one.
std::string trimmed(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  if (out.ends_with(' ')) out.pop_back();
  return out;
}

}  // namespace

Headers sign_for_aws(const SignableRequest& request, const AwsCredentials& credentials,
                     std::string_view region, std::string_view service, SystemTime at) {
  const auto time = fmt::format("{:%Y%m%dT%H%M%SZ}", std::chrono::floor<std::chrono::seconds>(at));
  const auto day = time.substr(0, 8);
  Headers headers = request.headers;
  headers.emplace_back("x-amz-date", time);
  if (!credentials.session_token.empty()) {
    headers.emplace_back("x-amz-security-token", credentials.session_token);
  }
  std::ranges::sort(headers);

  std::string names,
      canonical = fmt::format("{}\n{}\n{}\n", request.method, request.path, request.query);
  for (const auto& [name, value] : headers) {
    canonical += fmt::format("{}:{}\n", name, trimmed(value));
    names += (names.empty() ? "" : ";") + name;
  }
  canonical += fmt::format("\n{}\n{}", names, hex_of_hash(request.body));

  const auto scope = fmt::format("{}/{}/{}/aws4_request", day, region, service);
  const auto to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", time, scope, hex_of_hash(canonical));
  WipedString secret("AWS4");
  secret += credentials.secret_access_key;
  WipedBytes key(secret.begin(), secret.end());
  for (const std::string_view part :
       {std::string_view(day), region, service, std::string_view("aws4_request"),
        std::string_view(to_sign)}) {
    const auto next = hmac_sha256(key, as_bytes(part));
    key.assign(next.begin(), next.end());
  }
  headers.emplace_back(
      "authorization",
      fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                  credentials.access_key_id, scope, names, hex_encode(key)));
  return headers;
}

}  // namespace betrace::kms
