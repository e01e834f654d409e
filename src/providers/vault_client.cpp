#include "providers/vault_client.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "betrace/kms/provider.h"

#include "base/http_time.h"
#include "base/try.h"
#include "providers/exchange.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view wrong_tag = "message authentication failed";

// Vault lists causes over several lines; here they are one.
void append_line(std::string_view text, std::string& out) {
  bool gap = !out.empty();
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
      gap = !out.empty();
      continue;
    }
    if (gap) out += ' ';
    gap = false;
    out += c;
  }
}

std::string words_of(const HttpAnswer& answer) {
  constexpr int listed_max = 4;
  std::string words;
  const auto json = JsonAnswer::parse(answer.body);
  for (int i = 0; json && i < listed_max; ++i) {
    const auto text = json->text(fmt::format("/errors/{}", i));
    if (!text) break;
    if (!words.empty()) words += ';';
    append_line(*text, words);
  }
  return words;
}

ErrorCode code_of_bad_request(std::string_view words) {
  const auto says = [&](std::string_view part) { return words.contains(part); };
  // The master key is gone, or of a kind that wraps nothing here, until somebody acts.
  constexpr std::array unusable{"key not found",        "soft-deleted",    "soft deleted",
                                "disallowed by policy", "non-AEAD cipher", "for key derivation"};
  if (std::ranges::any_of(unusable, says)) return ErrorCode::kms_key_disabled;
  constexpr std::array bad{"invalid ciphertext", "invalid base64", "illegal base64",
                           "ciphertext too short"};
  if (says(wrong_tag) || std::ranges::any_of(bad, says)) return ErrorCode::invalid_ciphertext;
  return ErrorCode::invalid_argument;
}

struct Meaning {
  int status;
  ErrorCode code;
  std::string_view words;  // where Vault says nothing
};
// https://developer.hashicorp.com/vault/api-docs#http-status-codes
constexpr std::array meanings{
    Meaning{307, ErrorCode::kms_unavailable, "this node is a standby and sends callers elsewhere"},
    Meaning{401, ErrorCode::kms_access_denied, "whoever stands before Vault wants a log-in"},
    Meaning{403, ErrorCode::kms_access_denied, "permission denied"},
    Meaning{404, ErrorCode::kms_key_disabled, "the key is not there, or the path is not"},
    Meaning{408, ErrorCode::kms_unavailable, "the request took too long to arrive"},
    Meaning{412, ErrorCode::kms_unavailable, "this node has not caught up yet"},
    Meaning{429, ErrorCode::kms_unavailable, "too many requests"},
    Meaning{472, ErrorCode::kms_unavailable, "this node is a disaster recovery secondary"},
    Meaning{473, ErrorCode::kms_unavailable, "this node is a performance standby"},
    Meaning{503, ErrorCode::kms_unavailable, "sealed, or down for maintenance"},
};

}  // namespace

Error classify_vault_error(const HttpAnswer& answer, const VaultRequest& request, SystemTime now) {
  auto words = words_of(answer);
  Error error{
      .code = answer.status >= 500 ? ErrorCode::kms_unavailable : ErrorCode::invalid_argument,
      .type = fmt::format("HTTP {}", answer.status)};
  if (answer.status == 400) error.code = code_of_bad_request(words);
  for (const auto& each : meanings) {
    if (each.status != answer.status) continue;
    error.code = each.code;
    if (words.empty()) words = each.words;
  }
  if (answer.status >= 300 && answer.status < 400) {
    error.code = ErrorCode::kms_unavailable;
    if (words.empty()) words = "the server sends callers elsewhere";
    words += fmt::format(" ({})", answer.header("location"));
  }
  error.throttled = answer.status == 429;
  error.retry_after = parse_retry_after(answer.header("retry-after"), now);
  if (words.empty()) words = "without a reason";
  error.message = fmt::format("Failed to {}: {} (HTTP {})", request.purpose, words, answer.status);
  if (words.contains(wrong_tag)) {
    // An AEAD cannot tell a wrong context from an altered blob.
    error.message =
        fmt::format("{} or the ciphertext was altered: {}", context_mismatch_message, words);
  }
  return error;
}

Result<JsonAnswer> VaultClient::ask(const CallContext& call, const VaultRequest& request,
                                    const WipedString& token) const {
  HttpCall out{.method = request.method,
               .url = fmt::format("{}/v1/{}", settings_.address, request.path),
               .body = request.body,
               .ca_file = settings_.ca_file,
               .client_certificate = settings_.certificate,
               .client_key = settings_.cert_key};
  out.headers.emplace_back("X-Vault-Request", "true");
  if (!request.body.empty()) out.headers.emplace_back("Content-Type", "application/json");
  if (!token.empty()) out.headers.emplace_back("X-Vault-Token", std::string_view(token));
  if (!settings_.name_space.empty()) {
    out.headers.emplace_back("X-Vault-Namespace", settings_.name_space);
  }
  const auto answer =
      TRY(exchange(http_, clock_, call, std::move(out),
                   {.purpose = request.purpose, .what = "vault", .log = log_category::kms}));
  if (answer.status != 200) {
    return std::unexpected(classify_vault_error(answer, request, clock_.now()));
  }
  auto json = JsonAnswer::parse(answer.body);
  if (json) return *std::move(json);
  return fail(ErrorCode::kms_unavailable,
              fmt::format("Failed to {}: {} answered something that is not a JSON object",
                          request.purpose, settings_.address));
}

}  // namespace betrace::kms
