#include "app/hardening.h"

#include <csignal>
#include <cstdint>

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace betrace::kms {
namespace {

void raise_to_hard_limit(decltype(RLIMIT_NOFILE) resource) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(resource, &limit);
}

// Code is mapped from its file and never written, so its pages may be dropped at any time. Data
// that was relocated and then made read-only may not: it is told apart by not being executable.
int drop_code(dl_phdr_info* object, std::size_t, void*) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    const bool code = (segment.p_flags & PF_X) != 0 && (segment.p_flags & PF_W) == 0;
    if (segment.p_type != PT_LOAD || !code) continue;
    const auto begin = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    const auto end = object->dlpi_addr + segment.p_vaddr + segment.p_filesz;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
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
  // What a batch of evidence needed is kept for the next one, 8 MiB an arena at most: given back to
  // the kernel and taken again page by page it cost a fifth of the work.
  mallopt(M_TRIM_THRESHOLD, 8 << 20);
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
}

void forget_start_up_code() {
  dl_iterate_phdr(drop_code, nullptr);
  malloc_trim(0);
}

}  // namespace betrace::kms
