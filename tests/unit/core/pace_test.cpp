// Background work makes way for callers.
#include "core/pace.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct PaceTest : testing::Test {
  FakeClock clock;
  double uses = 7;
  Pace pace{clock, [this] { return uses; }};

  milliseconds pause_after(std::chrono::nanoseconds worked) {
    pace.worked(worked);
    return pace.pause();
  }
};

TEST_F(PaceTest, WithoutCallersThereIsNoPause) { EXPECT_EQ(pause_after(seconds(1)).count(), 0); }

TEST_F(PaceTest, WhileKeysAreUsedATwentiethOfTheTimeIsLeft) {
  ++uses;
  EXPECT_EQ(pause_after(milliseconds(20)), milliseconds(380));
  EXPECT_EQ(pause_after(milliseconds(30)), milliseconds(570)) << "what was paid is not due again";
  EXPECT_EQ(pace.pause().count(), 0);
}

TEST_F(PaceTest, ACallerIsExpectedAgainForAWhile) {
  ++uses;
  clock.advance(seconds(2));
  EXPECT_EQ(pause_after(milliseconds(10)), milliseconds(190));
  clock.advance(Pace::lull - milliseconds(1));
  EXPECT_EQ(pause_after(milliseconds(10)), milliseconds(190));
  clock.advance(milliseconds(1));
  EXPECT_EQ(pause_after(milliseconds(10)).count(), 0);
}

TEST_F(PaceTest, NoPauseIsLongerThanTheLongest) {
  ++uses;
  EXPECT_EQ(pause_after(seconds(10)), Pace::pause_max);
}

}  // namespace
}  // namespace betrace::kms
