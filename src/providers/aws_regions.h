// Regions that can stand in for each other, in the order in which they are asked. One that is down
// (unreachable, silent, throttled, 5xx) is passed over for 30 s; then one call tries it again.
// Thread-safe.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "providers/aws_settings.h"

namespace betrace::kms {

class AwsRegions {
 public:
  static constexpr std::chrono::seconds rest{30};

  // `service`: for people, "AWS KMS". `regions` has one at least; `clock` must outlive this.
  AwsRegions(std::string service, std::vector<AwsRegion> regions, const Clock& clock);

  // The answer of the first region that is up, errors that are an answer included (denied,
  // disabled, wrong context): a replica is for an outage, not a way around a refusal. `ask` takes
  // (const CallContext&, const AwsRegion&); while others are left it is given half the time that
  // is. When all are down the error is the first one's, and names the others'.
  template <class Ask>
  auto ask(const CallContext& call, Ask ask)
      -> std::invoke_result_t<Ask, const CallContext&, const AwsRegion&>;

 private:
  static bool is_down(const Error& error) {
    return error.code == ErrorCode::kms_unavailable || error.code == ErrorCode::kms_timeout;
  }
  // Those that are up, then the others.
  std::vector<std::size_t> order();
  CallContext in_half_the_time(const CallContext& call) const;
  void note_up(std::size_t region);
  void note_down(std::size_t region, const Error& error);

  const std::string service_;
  const std::vector<AwsRegion> regions_;
  const Clock& clock_;
  std::mutex mutex_;
  // Per region; the epoch: it is up.
  std::vector<std::chrono::steady_clock::time_point> rests_until_;
};

template <class Ask>
auto AwsRegions::ask(const CallContext& call, Ask ask)
    -> std::invoke_result_t<Ask, const CallContext&, const AwsRegion&> {
  if (regions_.size() == 1) return ask(call, regions_.front());
  std::optional<Error> first;
  const auto order = this->order();
  for (const std::size_t each : order) {
    const bool last = each == order.back();
    auto answer = ask(last ? call : in_half_the_time(call), regions_[each]);
    if (answer || !is_down(answer.error())) {
      note_up(each);
      return answer;
    }
    note_down(each, answer.error());
    if (first) {
      first->message += "; " + answer.error().message;
    } else {
      first = std::move(answer.error());
    }
  }
  return std::unexpected(*std::move(first));
}

}  // namespace betrace::kms
