#include "base/time_slice.h"

#include <cstdint>
#include <thread>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace betrace::kms {
namespace {

// struct sched_attr as first published; the kernel's header does not go with the C library's.
struct Attributes {
  std::uint32_t size, sched_policy;
  std::uint64_t sched_flags;
  std::int32_t sched_nice;
  std::uint32_t sched_priority;
  std::uint64_t sched_runtime, sched_deadline, sched_period;
};

Attributes attributes_of_this_thread() {
  Attributes attributes{};
  EXPECT_EQ(::syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0), 0);
  return attributes;
}

TEST(TimeSlice, LongSlicesChangeNeitherPolicyNorShare) {
  std::jthread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 7), 0);
    const auto before = attributes_of_this_thread();
    take_long_slices();
    const auto after = attributes_of_this_thread();
    EXPECT_EQ(after.sched_policy, static_cast<std::uint32_t>(SCHED_OTHER));
    EXPECT_EQ(after.sched_nice, 7);
    // A kernel that knows slices answers them.
    EXPECT_EQ(after.sched_runtime, before.sched_runtime == 0 ? 0U : 100'000'000U);
  }).join();
}

TEST(TimeSlice, AThreadWhosePolicySomebodyHasChosenIsLeftAlone) {
  std::jthread([] {
    const sched_param none{};
    ASSERT_EQ(::sched_setscheduler(0, SCHED_BATCH, &none), 0);
    const auto before = attributes_of_this_thread();
    take_long_slices();
    EXPECT_EQ(attributes_of_this_thread().sched_policy, static_cast<std::uint32_t>(SCHED_BATCH));
    EXPECT_EQ(attributes_of_this_thread().sched_runtime, before.sched_runtime);
  }).join();
}

}  // namespace
}  // namespace betrace::kms
