#include "app/hardening.h"

#include <csignal>

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace betrace::kms {
namespace {

void raise_to_hard_limit(decltype(RLIMIT_NOFILE) resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(resource, &limit);
}

}  // namespace

void harden_process() {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  setrlimit(RLIMIT_CORE, &none);
  umask(077);
  raise_to_hard_limit(RLIMIT_MEMLOCK);
  raise_to_hard_limit(RLIMIT_NOFILE);
  // A peer that hangs up is an error of its socket, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
}

void tune_heap() {
  // Every arena keeps its own free memory; the store's and the provider's threads share a few.
  mallopt(M_ARENA_MAX, 4);
  mallopt(M_TRIM_THRESHOLD, 256 * 1024);
}

}  // namespace betrace::kms
