// The time of leases in an embedded store: milliseconds of the machine's monotonic clock, with the
// boot they count from. All daemons on one file share it, and no wall clock moves it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace betrace::kms {

struct LeaseTime {
  std::string boot;
  std::int64_t milliseconds = 0;
};
using LeaseClock = std::function<LeaseTime()>;

// CLOCK_MONOTONIC and the kernel's boot id.
LeaseTime machine_lease_time();

}  // namespace betrace::kms
