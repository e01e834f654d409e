#include "providers/aws_assume_role.h"

#include <charconv>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"
#include "providers/aws_errors.h"
#include "providers/aws_exchange.h"

namespace betrace::kms {
namespace {

int digits(std::string_view text, std::size_t offset, std::size_t count) {
  int value = -1;
  const char* const begin = text.data() + offset;
  const auto [end, error] = std::from_chars(begin, begin + count, value);
  return error == std::errc() && end == begin + count ? value : -1;
}

}  // namespace

std::optional<SystemTime> parse_utc_time(std::string_view text) {
  if (text.size() < 20 || text.size() > 40 || text.back() != 'Z' || text[4] != '-' ||
      text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  const auto fraction = text.substr(19, text.size() - 20);
  if (!date.ok() || (!fraction.empty() && fraction.front() != '.')) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

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
