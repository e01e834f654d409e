#include "app/http_observer.h"

#include "base/http_time.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

// A Date is whole seconds, and was written some time between the two.
seconds skew_of(SystemTime date, SystemTime begun, SystemTime ended) {
  if (date + seconds(1) < begun) return std::chrono::floor<seconds>(begun - date);
  if (date > ended) return std::chrono::floor<seconds>(ended - date);
  return seconds(0);
}

}  // namespace

Result<HttpAnswer> HttpObserver::send(const HttpCall& call) {
  const auto begun = clock_.now();
  auto answer = inner_->send(call);
  if (!answer) return answer;
  const auto date = parse_http_date(answer->header("date"));
  const std::lock_guard lock(mutex_);
  if (date) seen_.clock_skew = skew_of(*date, begun, clock_.now());
  if (!seen_.slowest || answer->phases.total > seen_.slowest->total) {
    seen_.slowest = answer->phases;
  }
  return answer;
}

HttpObserver::Seen HttpObserver::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

}  // namespace betrace::kms
