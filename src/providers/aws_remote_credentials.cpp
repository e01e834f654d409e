#include "providers/aws_remote_credentials.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"
#include "providers/exchange.h"
#include "providers/file_secret.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

std::string variable(const EnvironmentVariables& environment, const char* name) {
  return environment ? environment(name).value_or("") : std::string();
}

// Where AWS documents plain HTTP: loopback, ECS, EKS.
bool may_be_plain(std::string_view url) {
  url.remove_prefix(std::string_view("http://").size());
  const auto host = url.starts_with('[') ? url.substr(0, url.find(']') + 1)
                                         : url.substr(0, url.find_first_of(":/?"));
  constexpr std::array<std::string_view, 6> known{
      "localhost", "[::1]", "127.0.0.1", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
  return std::ranges::find(known, host) != known.end();
}

std::unexpected<Error> strange(std::string_view url) {
  return fail(ErrorCode::kms_unavailable,
              fmt::format("{} answered something that is no AWS credentials", url));
}

}  // namespace

std::optional<AwsCredentials> aws_credentials_in(const JsonAnswer& answer, std::string_view token) {
  const auto id = answer.text("/AccessKeyId"), secret = answer.text("/SecretAccessKey");
  if (!id || !secret || id->empty() || secret->empty()) return std::nullopt;
  AwsCredentials found{
      .access_key_id = std::string(*id),
      .secret_access_key = WipedString(*secret),
      .session_token = WipedString(answer.text(fmt::format("/{}", token)).value_or(""))};
  if (const auto expiration = answer.text("/Expiration")) {
    found.expires_at = parse_utc_time(*expiration);
    if (!found.expires_at) return std::nullopt;
  }
  return found;
}

// --- web identity
// ---------------------------------------------------------------------------------

WebIdentityCredentials::WebIdentityCredentials(const ProviderEnvironment& environment,
                                               std::vector<AwsRegion> regions)
    : environment_(environment.environment),
      sts_{environment.http, environment.clock, std::move(regions)} {}

std::string WebIdentityCredentials::description() const {
  return "web identity (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN)";
}

Result<std::optional<AwsCredentials>> WebIdentityCredentials::load(const CallContext& call) {
  const auto file = variable(environment_, "AWS_WEB_IDENTITY_TOKEN_FILE");
  RoleRequest request{.role_arn = variable(environment_, "AWS_ROLE_ARN"),
                      .session_name = variable(environment_, "AWS_ROLE_SESSION_NAME"),
                      .external_id = {}};
  if (file.empty()) return std::nullopt;
  if (request.role_arn.empty()) {
    return fail(ErrorCode::kms_access_denied,
                "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not; both are needed");
  }
  if (request.session_name.empty()) request.session_name = "betrace-kms";
  const auto token = TRY(FileSecret("AWS_WEB_IDENTITY_TOKEN_FILE", file).read());
  return TRY(assume_role_with_web_identity(sts_, call, request, token));
}

// --- containers
// -----------------------------------------------------------------------------------

ContainerCredentials::ContainerCredentials(const ProviderEnvironment& environment)
    : environment_(environment.environment), http_(environment.http), clock_(environment.clock) {}

std::string ContainerCredentials::description() const {
  return "container (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, …_FULL_URI)";
}

Result<std::optional<AwsCredentials>> ContainerCredentials::load(const CallContext& call) {
  const auto relative = variable(environment_, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  auto url = variable(environment_, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative.empty()) url = "http://169.254.170.2" + relative;
  if (url.empty()) return std::nullopt;
  if (!url.starts_with("https://") && !(url.starts_with("http://") && may_be_plain(url))) {
    return fail(ErrorCode::kms_access_denied,
                fmt::format("AWS_CONTAINER_CREDENTIALS_FULL_URI='{}': accepted are https://, and "
                            "http:// to this machine, 169.254.170.2, 169.254.170.23 and "
                            "[fd00:ec2::23]",
                            url));
  }
  WipedString token(variable(environment_, "AWS_CONTAINER_AUTHORIZATION_TOKEN"));
  if (const auto file = variable(environment_, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
      !file.empty()) {
    token = TRY(FileSecret("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file).read());
  }
  HttpCall request{.url = url};
  if (!token.empty()) request.headers = {{"Authorization", std::string(token)}};
  const auto answer = TRY(exchange(http_, clock_, call, std::move(request),
                                   {.purpose = "get the container's AWS credentials",
                                    .what = "container credentials",
                                    .log = log_category::aws_sdk}));
  const auto json = JsonAnswer::parse(answer.body);
  if (answer.status != 200) {
    const auto words = json ? json->text("/message").value_or("") : "";
    const bool down = answer.status >= 500 || answer.status == 429;
    return fail(down ? ErrorCode::kms_unavailable : ErrorCode::kms_access_denied,
                fmt::format("Failed to get the container's AWS credentials: {}: HTTP {}{}{}", url,
                            answer.status, words.empty() ? "" : ", ", words));
  }
  auto found = json ? aws_credentials_in(*json, "Token") : std::nullopt;
  if (!found) return strange(url);
  return found;
}

// --- instances
// ------------------------------------------------------------------------------------

InstanceCredentials::InstanceCredentials(const ProviderEnvironment& environment)
    : environment_(environment.environment), http_(environment.http), clock_(environment.clock) {
  endpoint_ = variable(environment_, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (endpoint_.empty()) endpoint_ = "http://169.254.169.254";
  while (endpoint_.ends_with('/')) endpoint_.pop_back();
}

std::string InstanceCredentials::description() const {
  return "instance metadata" + (last_fault_.empty() ? "" : " (" + last_fault_ + ")");
}

Result<HttpAnswer> InstanceCredentials::ask(const CallContext& call, std::string_view method,
                                            std::string_view path, Headers headers) {
  CallContext briefly = call;
  briefly.deadline = std::min(call.deadline, clock_.steady_now() + std::chrono::seconds(1));
  HttpCall request{.method = std::string(method), .url = fmt::format("{}{}", endpoint_, path)};
  request.headers = std::move(headers);
  return exchange(http_, clock_, briefly, std::move(request),
                  {.purpose = "ask the instance's metadata service",
                   .what = "IMDS",
                   .log = log_category::aws_sdk});
}

// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
std::optional<Headers> InstanceCredentials::log_in(const CallContext& call) {
  if (variable(environment_, "AWS_EC2_METADATA_DISABLED") == "true") {
    last_fault_ = "AWS_EC2_METADATA_DISABLED";
    return std::nullopt;
  }
  const auto token =
      ask(call, "PUT", "/latest/api/token", {{"X-aws-ec2-metadata-token-ttl-seconds", "21600"}});
  met_ = met_ || (token && (token->status == 200 || token->status == 429 || token->status >= 500));
  if (!token || token->status != 200) {
    last_fault_ = token ? fmt::format("HTTP {}", token->status)
                        : "no answer; in a container the instance's hop limit must be 2 or more";
    return std::nullopt;
  }
  return Headers{{"X-aws-ec2-metadata-token", std::string(token->body)}};
}

Result<std::string> InstanceCredentials::region(const CallContext& call) {
  constexpr std::string_view path = "/latest/meta-data/placement/region";
  const auto with_token = log_in(call);
  const auto answer = with_token ? ask(call, "GET", path, *with_token)
                                 : fail(ErrorCode::kms_access_denied, last_fault_);
  if (answer && answer->status == 200 && !answer->body.empty()) return std::string(answer->body);
  return fail(
      ErrorCode::kms_access_denied,
      fmt::format("no AWS region found: neither AWS_REGION, AWS_DEFAULT_REGION nor the "
                  "instance's metadata ({}) name one",
                  answer ? fmt::format("HTTP {}", answer->status) : answer.error().message));
}

Result<std::optional<AwsCredentials>> InstanceCredentials::load(const CallContext& call) {
  constexpr std::string_view roles = "/latest/meta-data/iam/security-credentials/";
  const auto with_token = log_in(call);
  if (!with_token && met_) {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("the instance's metadata service gives nothing now: {}", last_fault_));
  }
  if (!with_token) return std::nullopt;
  const auto role = TRY(ask(call, "GET", roles, *with_token));
  if (role.status == 404) {
    last_fault_ = "the instance has no role";
    return std::nullopt;
  }
  const auto name = std::string(role.body.substr(0, role.body.find_first_of("\r\n")));
  if (role.status != 200 || name.empty()) return strange(endpoint_ + std::string(roles));
  const auto answer = TRY(ask(call, "GET", fmt::format("{}{}", roles, name), *with_token));
  const auto json = JsonAnswer::parse(answer.body);
  auto found = answer.status == 200 && json ? aws_credentials_in(*json, "Token") : std::nullopt;
  if (!found) return strange(fmt::format("{}{}{}", endpoint_, roles, name));
  last_fault_.clear();
  return found;
}

}  // namespace betrace::kms
