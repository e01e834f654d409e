#include "providers/aws_credentials.h"

#include <atomic>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

#include "provider_world.h"

namespace betrace::kms {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

const CallContext call = CallContext::system("test");

// A source that answers what the test puts there and counts how often it was asked.
class ScriptedSource final : public CredentialSource {
 public:
  struct State {
    std::atomic<int> loads = 0;
    std::atomic<bool> changed = false;
    std::chrono::steady_clock::time_point deadline;
    std::mutex mutex;
    Result<std::optional<AwsCredentials>> next = std::nullopt;
    std::function<void()> before;

    void set(Result<std::optional<AwsCredentials>> value) {
      const std::lock_guard lock(mutex);
      next = std::move(value);
    }
  };
  ScriptedSource(State& state, std::string where) : state_(state), where_(std::move(where)) {}
  std::string description() const override { return where_; }
  bool has_changed() const override { return state_.changed; }
  Result<std::optional<AwsCredentials>> load(const CallContext& by) override {
    ++state_.loads;
    state_.deadline = by.deadline;
    state_.changed = false;
    if (state_.before) state_.before();
    const std::lock_guard lock(state_.mutex);
    return state_.next;
  }

 private:
  State& state_;
  const std::string where_;
};

class AwsCredentialCacheTest : public ::testing::Test {
 protected:
  AwsCredentials lasting(std::string id, std::chrono::milliseconds life) {
    return {.access_key_id = std::move(id),
            .secret_access_key = "secret",
            .session_token = "token",
            .expires_at = clock_.now() + life};
  }
  std::string id() {
    const auto got = cache_.get(call);
    return got ? (*got)->access_key_id : "error: " + got.error().message;
  }
  static std::vector<std::unique_ptr<CredentialSource>> sources(ScriptedSource::State& first,
                                                                ScriptedSource::State& second) {
    std::vector<std::unique_ptr<CredentialSource>> made;
    made.push_back(std::make_unique<ScriptedSource>(first, "the first place"));
    made.push_back(std::make_unique<ScriptedSource>(second, "the second place"));
    return made;
  }

  FakeClock clock_;
  ScriptedSource::State first_, second_;
  AwsCredentialCache cache_{first_of(sources(first_, second_)), clock_};
};

TEST_F(AwsCredentialCacheTest, TheFirstSourceThatHasSomeWins) {
  second_.set(AwsCredentials{.access_key_id = "second", .secret_access_key = "s"});
  EXPECT_EQ(id(), "second");
  first_.set(AwsCredentials{.access_key_id = "first", .secret_access_key = "s"});
  EXPECT_EQ(id(), "second");
  first_.changed = true;
  EXPECT_EQ(id(), "first");
  EXPECT_EQ(second_.loads, 1);
}

TEST_F(AwsCredentialCacheTest, ASourceThatCannotBeUsedIsNotPassedOver) {
  first_.set(fail(ErrorCode::kms_access_denied, "broken profile"));
  second_.set(AwsCredentials{.access_key_id = "second", .secret_access_key = "s"});
  EXPECT_EQ(id(), "error: broken profile");
  EXPECT_EQ(second_.loads, 0);
}

TEST_F(AwsCredentialCacheTest, WithoutAnyTheErrorNamesEveryPlaceAndTheNextCallLooksAgain) {
  const auto got = cache_.get(call);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(got.error().message,
            "no AWS credentials found; looked in: the first place, the second place");
  second_.set(AwsCredentials{.access_key_id = "second", .secret_access_key = "s"});
  EXPECT_EQ(id(), "second");
}

TEST_F(AwsCredentialCacheTest, AreLoadedOnceAndAnewFiveMinutesBeforeTheyExpire) {
  first_.set(lasting("a", minutes(60)));
  EXPECT_EQ(id(), "a");
  first_.set(lasting("b", minutes(120)));
  clock_.advance(minutes(55) - seconds(1));
  EXPECT_EQ(id(), "a");
  EXPECT_EQ(first_.loads, 1);
  clock_.advance(seconds(1));
  EXPECT_EQ(id(), "b");
  EXPECT_EQ(first_.loads, 2);
}

TEST_F(AwsCredentialCacheTest, WhenARefreshFailsThoseStillValidServeOnWithAPauseBetweenTries) {
  first_.set(lasting("a", minutes(60)));
  EXPECT_EQ(id(), "a");
  clock_.advance(minutes(57));
  first_.set(fail(ErrorCode::kms_unavailable, "STS is down"));
  EXPECT_EQ(id(), "a");
  EXPECT_EQ(id(), "a");
  EXPECT_EQ(first_.loads, 2);
  clock_.advance(seconds(10));
  EXPECT_EQ(id(), "a");
  EXPECT_EQ(first_.loads, 3);
  clock_.advance(minutes(3));
  EXPECT_EQ(id(), "error: STS is down");
  first_.set(lasting("b", minutes(60)));
  EXPECT_EQ(id(), "b");
}

TEST_F(AwsCredentialCacheTest, ARefreshLeavesHalfOfTheTimeToTheCallThatTheOldOnesCanServe) {
  first_.set(lasting("a", minutes(60)));
  CallContext bounded = call;
  bounded.deadline = clock_.steady_now() + seconds(4);
  ASSERT_TRUE(cache_.get(bounded));
  EXPECT_EQ(first_.deadline, bounded.deadline) << "there are no others";
  clock_.advance(minutes(57));
  bounded.deadline = clock_.steady_now() + seconds(4);
  ASSERT_TRUE(cache_.get(bounded));
  EXPECT_EQ(first_.deadline, bounded.deadline - seconds(2));
}

TEST_F(AwsCredentialCacheTest, ThoseOfAShortLifeAreLoadedAnewInItsLastThird) {
  first_.set(lasting("a", minutes(3)));
  EXPECT_EQ(id(), "a");
  first_.set(lasting("b", minutes(60)));
  clock_.advance(minutes(2) - seconds(1));
  EXPECT_EQ(id(), "a");
  EXPECT_EQ(first_.loads, 1);
  clock_.advance(seconds(1));
  EXPECT_EQ(id(), "b");
}

TEST_F(AwsCredentialCacheTest, ThoseThatComeWithoutALifeAreNotLoadedForEveryCall) {
  first_.set(lasting("a", seconds(0)));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(id(), "a");
  EXPECT_EQ(first_.loads, 5);
  first_.set(lasting("b", std::chrono::milliseconds(2)));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(id(), "b");
  EXPECT_EQ(first_.loads, 6);
}

TEST_F(AwsCredentialCacheTest, ForgottenOnesAreLoadedAnewAndOthersAreNotForgotten) {
  first_.set(lasting("a", minutes(60)));
  const auto old = cache_.get(call);
  ASSERT_TRUE(old);
  first_.set(lasting("b", minutes(60)));
  cache_.forget(*old);
  EXPECT_EQ(id(), "b");
  cache_.forget(*old);
  EXPECT_EQ(id(), "b");
  EXPECT_EQ(first_.loads, 2);
}

TEST_F(AwsCredentialCacheTest, ManyCallersShareOneLoad) {
  constexpr int callers = 16;
  std::latch all_started(callers);
  first_.set(lasting("a", minutes(60)));
  first_.before = [&] { all_started.wait(); };
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < callers; ++i) {
      threads.emplace_back([&] {
        all_started.count_down();
        if (id() == "a") ++good;
      });
    }
  }
  EXPECT_EQ(good, callers);
  EXPECT_EQ(first_.loads, 1);
}

TEST_F(AwsCredentialCacheTest, DuringARefreshTheOthersGoOnWithWhatIsStillValid) {
  first_.set(lasting("a", minutes(60)));
  EXPECT_EQ(id(), "a");
  clock_.advance(minutes(56));
  std::latch refreshing(1), let_it_end(1);
  first_.before = [&] {
    refreshing.count_down();
    let_it_end.wait();
  };
  first_.set(lasting("b", minutes(60)));
  std::jthread refresher([&] { EXPECT_EQ(id(), "b"); });
  refreshing.wait();
  EXPECT_EQ(id(), "a");
  let_it_end.count_down();
  refresher.join();
  EXPECT_EQ(id(), "b");
}

TEST_F(AwsCredentialCacheTest, WhoeverWaitsForALoadGivesUpAtItsDeadline) {
  std::latch loading(1), let_it_end(1);
  first_.before = [&] {
    loading.count_down();
    let_it_end.wait();
  };
  first_.set(lasting("a", minutes(60)));
  std::jthread loader([&] { EXPECT_EQ(id(), "a"); });
  loading.wait();
  CallContext late = call;
  late.deadline = std::chrono::steady_clock::now() - seconds(1);
  const auto got = cache_.get(late);
  EXPECT_FALSE(got);
  if (!got) {
    EXPECT_EQ(got.error().code, ErrorCode::kms_timeout);
  }
  let_it_end.count_down();
}

TEST(AwsEnvironmentCredentials, NeedIdAndSecretAndTakeATokenWhenThereIsOne) {
  ProviderWorld world;
  EnvironmentCredentials source(world.environment().environment);
  EXPECT_FALSE(source.load(call)->has_value());
  world.variables["AWS_ACCESS_KEY_ID"] = "AKIA";
  EXPECT_EQ(source.load(call).error().message,
            "AWS credentials in the environment are incomplete: AWS_SECRET_ACCESS_KEY is not set");
  world.variables["AWS_SECRET_ACCESS_KEY"] = "secret";
  auto found = source.load(call);
  ASSERT_TRUE(found && found->has_value());
  EXPECT_EQ((*found)->access_key_id, "AKIA");
  EXPECT_EQ((*found)->secret_access_key, "secret");
  EXPECT_EQ((*found)->session_token, "");
  EXPECT_FALSE((*found)->expires_at);
  world.variables["AWS_SESSION_TOKEN"] = "token";
  EXPECT_EQ((*source.load(call))->session_token, "token");
  world.variables.erase("AWS_ACCESS_KEY_ID");
  EXPECT_EQ(source.load(call).error().code, ErrorCode::kms_access_denied);
}

}  // namespace
}  // namespace betrace::kms
