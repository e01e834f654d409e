#include "providers/aws_sso.h"

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/aws_settings.h"
#include "providers/exchange.h"
#include "providers/file_secret.h"
#include "providers/json_answer.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

std::unexpected<Error> log_in_first(const SsoRequest& request, std::string_view why) {
  return fail(ErrorCode::kms_access_denied,
              fmt::format("AWS profile '{0}': {1}; log in with: aws sso login --profile {0}",
                          request.profile, why));
}

Result<WipedString> cached_token(const SsoRequest& request, SystemTime now) {
  const auto text = FileSecret("SSO token", sso_cache_file(request)).read();
  if (!text) return log_in_first(request, text.error().message);
  const auto json = JsonAnswer::parse(*text);
  const auto token = json ? json->text("/accessToken") : std::nullopt;
  const auto end = json ? json->text("/expiresAt") : std::nullopt;
  const auto ends_at = end ? parse_utc_time(*end) : std::nullopt;
  if (!token || token->empty() || !ends_at) {
    return log_in_first(request, sso_cache_file(request) + " holds no token");
  }
  if (*ends_at <= now) return log_in_first(request, fmt::format("its SSO token ended at {}", *end));
  return WipedString(*token);
}

}  // namespace

std::string sso_cache_file(const SsoRequest& request) {
  const auto& name = request.session.empty() ? request.start_url : request.session;
  return fmt::format("{}/{}.json", request.cache_folder, hex_encode(sha1(as_bytes(name))));
}

// https://docs.aws.amazon.com/singlesignon/latest/PortalAPIReference/API_GetRoleCredentials.html
Result<AwsCredentials> sso_credentials(const SsoRequest& request, HttpClient& http,
                                       const Clock& clock, const CallContext& call) {
  const auto token = TRY(cached_token(request, clock.now()));
  HttpCall out;
  out.url = fmt::format("{}/federation/credentials?role_name={}&account_id={}",
                        aws_service_url("portal.sso", request.region), percent_encode(request.role),
                        percent_encode(request.account));
  out.headers = {{"x-amz-sso_bearer_token", std::string(token)}};
  const auto answer = TRY(exchange(http, clock, call, std::move(out),
                                   {.purpose = fmt::format("get the role {} of SSO", request.role),
                                    .what = "sso GetRoleCredentials",
                                    .log = log_category::aws_sdk,
                                    .request_id = "x-amzn-requestid"}));
  const auto json = JsonAnswer::parse(answer.body);
  if (answer.status == 401) return log_in_first(request, "its SSO token is refused");
  if (answer.status != 200) {
    const auto words = json ? json->text("/message").value_or("") : "";
    const bool down = answer.status >= 500 || answer.status == 429;
    return fail(down ? ErrorCode::kms_unavailable : ErrorCode::kms_access_denied,
                fmt::format("AWS profile '{}': the role {} of account {}: HTTP {}{}{}",
                            request.profile, request.role, request.account, answer.status,
                            words.empty() ? "" : ", ", words));
  }
  const auto text = [&](std::string_view name) {
    return json ? json->text(fmt::format("/roleCredentials/{}", name)).value_or("") : "";
  };
  const auto end = json ? json->number("/roleCredentials/expiration") : std::nullopt;
  if (text("accessKeyId").empty() || text("secretAccessKey").empty() || !end || *end < 0 ||
      *end > 1e14) {
    return fail(ErrorCode::kms_unavailable, "SSO answered something that is no role's credentials");
  }
  return AwsCredentials{
      .access_key_id = std::string(text("accessKeyId")),
      .secret_access_key = WipedString(text("secretAccessKey")),
      .session_token = WipedString(text("sessionToken")),
      .expires_at = SystemTime(std::chrono::milliseconds(static_cast<std::int64_t>(*end)))};
}

}  // namespace betrace::kms
