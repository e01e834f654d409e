#include "providers/aws_assume_role.h"

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"
#include "providers/aws_errors.h"
#include "providers/aws_exchange.h"
#include "providers/exchange.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view form_type = "application/x-www-form-urlencoded; charset=utf-8";

std::string form_of(std::string_view action, const RoleRequest& request) {
  return fmt::format(
      "Action={}&Version=2011-06-15&RoleArn={}&RoleSessionName={}&DurationSeconds={}", action,
      percent_encode(request.role_arn), percent_encode(request.session_name),
      request.duration.count());
}

Result<AwsCredentials> credentials_in(const HttpAnswer& answer, std::string_view url) {
  const auto id = xml_text(answer.body, "AccessKeyId");
  auto secret = xml_text(answer.body, "SecretAccessKey");
  auto token = xml_text(answer.body, "SessionToken");
  const auto expiration = xml_text(answer.body, "Expiration");
  const auto expires_at = expiration ? parse_utc_time(*expiration) : std::nullopt;
  if (!id || !secret || !token || !expires_at || id->empty() || secret->empty() || token->empty()) {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("{} answered something that is not an AssumeRole result", url));
  }
  return AwsCredentials{.access_key_id = std::string(*id),
                        .secret_access_key = *std::move(secret),
                        .session_token = *std::move(token),
                        .expires_at = *expires_at};
}

}  // namespace

Result<AwsCredentials> assume_role(StsEndpoint& sts, const CallContext& call,
                                   const RoleRequest& request, const AwsCredentials& by) {
  auto form = form_of("AssumeRole", request);
  if (!request.external_id.empty()) form += "&ExternalId=" + percent_encode(request.external_id);
  return sts.regions.ask(
      call, [&](const CallContext& within, const AwsRegion& region) -> Result<AwsCredentials> {
        const AwsRequest out{.service = "sts",
                             .operation = "AssumeRole",
                             .purpose = fmt::format("assume role {}", request.role_arn),
                             .region = region.name,
                             .url = region.sts_url,
                             .headers = {{"Content-Type", std::string(form_type)}},
                             .body = WipedString(form)};
        return credentials_in(TRY(send_to_aws(sts.http, sts.clock, within, out, by)),
                              region.sts_url);
      });
}

Result<AwsCredentials> assume_role_with_web_identity(StsEndpoint& sts, const CallContext& call,
                                                     const RoleRequest& request,
                                                     const WipedString& token) {
  WipedString form(form_of("AssumeRoleWithWebIdentity", request));
  form += "&WebIdentityToken=";
  form += percent_encode(std::string_view(token));
  return sts.regions.ask(
      call, [&](const CallContext& within, const AwsRegion& region) -> Result<AwsCredentials> {
        HttpCall out{.method = "POST", .url = region.sts_url + "/"};
        out.headers = {{"Content-Type", std::string(form_type)}};
        out.body = form;
        const auto answer =
            TRY(exchange(sts.http, sts.clock, within, std::move(out),
                         {.purpose = fmt::format("assume role {}", request.role_arn),
                          .what = "sts AssumeRoleWithWebIdentity",
                          .log = log_category::aws_sdk,
                          .request_id = "x-amzn-requestid"}));
        if (answer.status == 200) return credentials_in(answer, region.sts_url);
        auto error =
            classify_aws_error(answer, "AWS sts AssumeRoleWithWebIdentity", sts.clock.now());
        // A token that is refused is nobody's ciphertext.
        if (error.code != ErrorCode::kms_unavailable) error.code = ErrorCode::kms_access_denied;
        return std::unexpected(std::move(error));
      });
}

}  // namespace betrace::kms
