#include "base/time_slice.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace betrace::kms {

// A lower priority would not do: it makes the share smaller and leaves the slice as long as it is,
// and with SCHED_IDLE a thread that holds a lock may not run for a second.
void take_long_slices() {
  constexpr __u64 longest_ns = 100'000'000;
  sched_attr attributes{};
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  if (attributes.sched_policy != SCHED_NORMAL) return;  // somebody has decided otherwise
  attributes.sched_runtime = longest_ns;
  static_cast<void>(::syscall(SYS_sched_setattr, 0, &attributes, 0));
}

void let_others_run() { static_cast<void>(::syscall(SYS_sched_yield)); }

}  // namespace betrace::kms
