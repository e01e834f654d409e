#include "providers/exchange.h"

#include <fmt/format.h>

#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::chrono::milliseconds usual_timeout{5000};
constexpr std::size_t answer_bytes_max = 64 << 10;  // the largest true one has under 20 KiB

std::chrono::milliseconds time_left(const Clock& clock, const CallContext& call) {
  if (call.deadline == std::chrono::steady_clock::time_point::max()) return usual_timeout;
  return std::chrono::ceil<std::chrono::milliseconds>(call.deadline - clock.steady_now());
}

}  // namespace

Result<HttpAnswer> exchange(HttpClient& http, const Clock& clock, const CallContext& call,
                            HttpCall request, const Asking& asking) {
  request.timeout = time_left(clock, call);
  if (request.timeout <= std::chrono::milliseconds(0)) {
    return fail(ErrorCode::kms_timeout,
                fmt::format("Failed to {}: the time of the whole operation was used up before {} "
                            "was asked",
                            asking.purpose, request.url));
  }
  request.answer_bytes_max = answer_bytes_max;
  request.trace = call.trace;
  auto& log = logger(asking.log);
  log.debug("Sending request: {} {} {}", request.method, request.url, asking.what);
  const auto begun = clock.steady_now();
  auto answer = http.send(request);
  const auto taken = std::chrono::duration<double, std::milli>(clock.steady_now() - begun).count();
  if (!answer) {
    log.debug("Received no answer: {}: {} after {:.1f} ms", asking.what, answer.error().message,
              taken);
    answer.error().message =
        fmt::format("Failed to {}: {}", asking.purpose, answer.error().message);
    return answer;
  }
  log.debug("Received answer: {}: HTTP {}, {}{:.1f} ms", asking.what, answer->status,
            asking.request_id.empty()
                ? std::string()
                : fmt::format("request id {}, ", answer->header(asking.request_id)),
            taken);
  return answer;
}

}  // namespace betrace::kms
