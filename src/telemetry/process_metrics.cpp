#include "telemetry/process_metrics.h"

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "telemetry/metric_catalogue.h"

namespace betrace::kms {
namespace {

double seconds(const timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// Field 22 of proc(5)'s stat counts clock ticks from the boot.
std::optional<double> read_start_time() {
  std::ifstream file("/proc/self/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  auto at = text.rfind(')');  // the name before it may hold blanks
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return std::nullopt;
  const double ticks = std::strtod(text.c_str() + at, nullptr);
  timespec now{}, since_boot{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  const double boot = seconds(now) - seconds(since_boot);
  const double tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return std::round((boot + ticks * tick) * 100) / 100;
}

std::optional<double> open_descriptors() {
  struct stat folder{};
  // Since Linux 6.2 the size is the count.
  if (::stat("/proc/self/fd", &folder) == 0 && folder.st_size > 0) {
    return static_cast<double>(folder.st_size);
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir("/proc/self/fd"), ::closedir);
  if (!entries) return std::nullopt;
  double count = -3;  // ".", ".." and the one that reads
  while (::readdir(entries.get()) != nullptr) ++count;
  return count;
}

class Families {
 public:
  void add(const char* name, std::optional<double> value) {
    const auto* description = find_metric(name);
    if (!value || description == nullptr) return;
    prometheus::ClientMetric metric;
    metric.counter.value = metric.gauge.value = *value;
    families_.push_back({name, std::string(description->help), description->type, {metric}});
  }
  std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace

std::vector<prometheus::MetricFamily> process_metrics() {
  static const std::optional<double> start_time = read_start_time();
  Families families;
  timespec cpu{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  families.add("process_cpu_seconds_total", seconds(cpu));
  families.add("process_start_time_seconds", start_time);
  double pages = 0, resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> pages >> resident_pages) {
    const auto page_bytes = static_cast<double>(::sysconf(_SC_PAGESIZE));
    families.add("process_virtual_memory_bytes", pages * page_bytes);
    families.add("process_resident_memory_bytes", resident_pages * page_bytes);
  }
  families.add("process_open_fds", open_descriptors());
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.add("process_max_fds", static_cast<double>(limit.rlim_cur));
  }
  return families.take();
}

}  // namespace betrace::kms
