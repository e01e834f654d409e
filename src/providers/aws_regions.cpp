#include "providers/aws_regions.h"

#include <algorithm>

#include "telemetry/log.h"

namespace betrace::kms {

namespace {
constexpr std::chrono::seconds usual_time{5};
}

AwsRegions::AwsRegions(std::string service, std::vector<AwsRegion> regions, const Clock& clock)
    : service_(std::move(service)),
      regions_(std::move(regions)),
      clock_(clock),
      rests_until_(regions_.size()) {}

std::vector<std::size_t> AwsRegions::order() {
  const std::lock_guard lock(mutex_);
  const auto now = clock_.steady_now();
  std::vector<std::size_t> up, resting;
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const bool tried = rests_until_[i] <= now;
    // Whoever tries it again is alone in that until the answer is there.
    if (tried && rests_until_[i].time_since_epoch().count() != 0) rests_until_[i] = now + rest;
    (tried ? up : resting).push_back(i);
  }
  up.insert(up.end(), resting.begin(), resting.end());
  return up;
}

CallContext AwsRegions::in_half_the_time(const CallContext& call) const {
  CallContext half = call;
  const auto now = clock_.steady_now();
  half.deadline = now + std::clamp<std::chrono::steady_clock::duration>(
                            call.deadline - now, std::chrono::seconds(0), usual_time) /
                            2;
  return half;
}

void AwsRegions::note_up(std::size_t region) {
  const std::lock_guard lock(mutex_);
  if (rests_until_[region].time_since_epoch().count() == 0) return;
  rests_until_[region] = {};
  logger(log_category::kms).info("{} in {} serves again", service_, regions_[region].name);
}

void AwsRegions::note_down(std::size_t region, const Error& error) {
  const std::lock_guard lock(mutex_);
  const bool known = rests_until_[region].time_since_epoch().count() != 0;
  rests_until_[region] = clock_.steady_now() + rest;
  if (known) return;
  logger(log_category::kms)
      .warn("{} in {} is down, the other regions are asked first: {}", service_,
            regions_[region].name, error.message);
}

}  // namespace betrace::kms
