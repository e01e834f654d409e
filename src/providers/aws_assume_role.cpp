#include "providers/aws_assume_role.h"

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"
#include "providers/aws_errors.h"
#include "providers/aws_exchange.h"

namespace betrace::kms {
Result<AwsCredentials> assume_role(const StsEndpoint& sts, const CallContext& call,
                                   const RoleRequest& request, const AwsCredentials& by) {
  std::string form = fmt::format(
      "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName={}&DurationSeconds={}",
      percent_encode(request.role_arn), percent_encode(request.session_name),
      request.duration.count());
  if (!request.external_id.empty()) form += "&ExternalId=" + percent_encode(request.external_id);
  const AwsRequest out{
      .service = "sts",
      .operation = "AssumeRole",
      .purpose = fmt::format("assume role {}", request.role_arn),
      .region = sts.region,
      .url = sts.url,
      .headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}},
      .body = WipedString(form)};
  const HttpAnswer answer = TRY(send_to_aws(sts.http, sts.clock, call, out, by));

  const auto id = xml_text(answer.body, "AccessKeyId");
  auto secret = xml_text(answer.body, "SecretAccessKey");
  auto token = xml_text(answer.body, "SessionToken");
  const auto expiration = xml_text(answer.body, "Expiration");
  const auto expires_at = expiration ? parse_utc_time(*expiration) : std::nullopt;
  if (!id || !secret || !token || !expires_at || id->empty() || secret->empty() || token->empty()) {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("{} answered something that is not an AssumeRole result", sts.url));
  }
  return AwsCredentials{.access_key_id = std::string(*id),
                        .secret_access_key = *std::move(secret),
                        .session_token = *std::move(token),
                        .expires_at = *expires_at};
}

}  // namespace betrace::kms
