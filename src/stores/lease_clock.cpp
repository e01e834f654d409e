#include "stores/lease_clock.h"

#include <ctime>
#include <fstream>

namespace betrace::kms {
namespace {

std::string read_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.empty() ? "unknown" : id;
}

}  // namespace

LeaseTime machine_lease_time() {
  static const std::string boot = read_boot_id();
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return {.boot = boot,
          .milliseconds = static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000};
}

}  // namespace betrace::kms
