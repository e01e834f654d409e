#include "providers/aws_exchange.h"

#include <fmt/format.h>

#include "providers/aws_errors.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::chrono::milliseconds usual_timeout{5000};
constexpr std::size_t answer_bytes_max = 64 << 10;  // the largest true one has under 20 KiB

std::chrono::milliseconds time_left(const Clock& clock, const CallContext& call) {
  if (call.deadline == std::chrono::steady_clock::time_point::max()) return usual_timeout;
  return std::chrono::ceil<std::chrono::milliseconds>(call.deadline - clock.steady_now());
}

spdlog::logger& log() {
  static spdlog::logger& instance = logger(log_category::aws_sdk);
  return instance;
}

}  // namespace

Result<HttpAnswer> send_to_aws(HttpClient& http, const Clock& clock, const CallContext& call,
                               const AwsRequest& request, const AwsCredentials& credentials) {
  HttpCall out;
  out.timeout = time_left(clock, call);
  if (out.timeout <= std::chrono::milliseconds(0)) {
    return fail(ErrorCode::kms_timeout,
                fmt::format("Failed to {}: the time of the whole operation was used up before {} "
                            "was asked",
                            request.purpose, request.url));
  }
  out.method = "POST";
  out.url = request.url + "/";
  out.headers = request.headers;
  out.body = request.body;
  out.answer_bytes_max = answer_bytes_max;
  out.trace = call.trace;
  out.aws = AwsSigning{.region = std::string(request.region),
                       .service = std::string(request.service),
                       .access_key_id = credentials.access_key_id,
                       .secret_access_key = credentials.secret_access_key,
                       .session_token = credentials.session_token};
  log().debug("Sending request: POST {} {} {}", out.url, request.service, request.operation);
  const auto begun = clock.steady_now();
  auto answer = http.send(out);
  const auto taken = std::chrono::duration<double, std::milli>(clock.steady_now() - begun).count();
  if (!answer) {
    log().debug("Received no answer: {} {}: {} after {:.1f} ms", request.service, request.operation,
                answer.error().message, taken);
    answer.error().message =
        fmt::format("Failed to {}: {}", request.purpose, answer.error().message);
    return answer;
  }
  log().debug("Received answer: {} {}: HTTP {}, request id {}, {:.1f} ms", request.service,
              request.operation, answer->status, answer->header("x-amzn-requestid"), taken);
  if (answer->status == 200) return answer;
  return std::unexpected(classify_aws_error(
      *answer, fmt::format("AWS {} {}", request.service, request.operation), clock.now()));
}

}  // namespace betrace::kms
