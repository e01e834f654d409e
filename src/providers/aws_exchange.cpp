#include "providers/aws_exchange.h"

#include <fmt/format.h>

#include "providers/aws_errors.h"
#include "providers/exchange.h"
#include "telemetry/log.h"

namespace betrace::kms {

Result<HttpAnswer> send_to_aws(HttpClient& http, const Clock& clock, const CallContext& call,
                               const AwsRequest& request, const AwsCredentials& credentials) {
  HttpCall out;
  out.method = "POST";
  out.url = request.url + "/";
  out.headers = request.headers;
  out.body = request.body;
  out.aws = AwsSigning{.region = std::string(request.region),
                       .service = std::string(request.service),
                       .access_key_id = credentials.access_key_id,
                       .secret_access_key = credentials.secret_access_key,
                       .session_token = credentials.session_token};
  auto answer = exchange(http, clock, call, std::move(out),
                         {.purpose = request.purpose,
                          .what = fmt::format("{} {}", request.service, request.operation),
                          .log = log_category::aws_sdk,
                          .request_id = "x-amzn-requestid"});
  if (!answer) return answer;
  if (answer->status == 200) return answer;
  return std::unexpected(classify_aws_error(
      *answer, fmt::format("AWS {} {}", request.service, request.operation), clock.now()));
}

}  // namespace betrace::kms
