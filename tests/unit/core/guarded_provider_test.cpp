#include "core/guarded_provider.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/fake_provider.h"
#include "support/kept_spans.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

struct GuardedProviderTest : testing::Test {
  FakeClock clock;
  FakeProvider inner;
  Metrics metrics{"fake"};
  CircuitBreaker breaker{"kms-signing-key", {}, clock, [](const auto&, auto) {}};
  GuardedProvider guarded{inner, breaker, {}, clock, metrics};
  const CallContext call = CallContext::system("test");
  const EncryptionContext context{{"tenantId", "a"}, {"keyType", "signing"}};

  ErrorCode code() { return guarded.generate_data_key(call, context).error().code; }
};

TEST_F(GuardedProviderTest, TriesATransientFailureFourTimesInAll) {
  inner.fail_always(ErrorCode::kms_unavailable);
  EXPECT_EQ(code(), ErrorCode::kms_unavailable);
  EXPECT_EQ(inner.generated(), 4);
  EXPECT_GE(clock.slept(), milliseconds(150));
  EXPECT_LE(clock.slept(), milliseconds(450));
}

TEST_F(GuardedProviderTest, EachAttemptIsASpanUnderTheCallersAndARefusalOfTheBreakerIsNone) {
  KeptSpans sink;
  const Tracer tracer(clock, *Sampler::parse("parentbased_always_off", 1), sink);
  GuardedProvider traced(inner, breaker, {}, clock, metrics, tracer);
  auto sampled = call;
  sampled.trace.trace_id[0] = sampled.trace.span_id[0] = 1;
  sampled.trace.sampled = true;
  inner.fail_next(ErrorCode::kms_timeout);
  ASSERT_TRUE(traced.generate_data_key(sampled, context));
  ASSERT_EQ(sink.spans.size(), 2U);
  EXPECT_TRUE(sink.spans[0]->failed);
  EXPECT_FALSE(sink.spans[1]->failed);
  for (const auto& span : sink.spans) {
    EXPECT_EQ(span->name, "kms.generate_data_key");
    EXPECT_EQ(span->parent_id, sampled.trace.span_id);
    EXPECT_TRUE(has(*span, "key.type", std::string("signing")));
  }
  inner.fail_always(ErrorCode::kms_unavailable);
  while (breaker.state() == BreakerState::closed) (void)traced.generate_data_key(sampled, context);
  const auto before = sink.spans.size();
  (void)traced.generate_data_key(sampled, context);
  EXPECT_EQ(sink.spans.size(), before);
}

TEST_F(GuardedProviderTest, SucceedsWhenARetryDoes) {
  inner.fail_next(ErrorCode::kms_timeout, 3);
  EXPECT_TRUE(guarded.generate_data_key(call, context));
  EXPECT_EQ(inner.generated(), 4);
}

TEST_F(GuardedProviderTest, DoesNotRetryWhatWillNotChange) {
  for (const auto error :
       {ErrorCode::kms_access_denied, ErrorCode::kms_key_disabled, ErrorCode::invalid_ciphertext,
        ErrorCode::invalid_argument, ErrorCode::wrapped_elsewhere}) {
    const int before = inner.generated();
    inner.fail_next(error);
    EXPECT_EQ(code(), error);
    EXPECT_EQ(inner.generated(), before + 1) << to_string(error);
  }
}

TEST_F(GuardedProviderTest, EveryAttemptCountsInTheBreaker) {
  inner.fail_always(ErrorCode::kms_unavailable);
  code();
  code();
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(code(), ErrorCode::circuit_open);
  EXPECT_EQ(inner.generated(), 10);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST_F(GuardedProviderTest, AnOpenBreakerAnswersAtOnceAndSaysWhenToComeBack) {
  inner.fail_always(ErrorCode::kms_access_denied);
  for (int i = 0; i < 10; ++i) code();
  const auto refused = guarded.generate_data_key(call, context);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::circuit_open);
  EXPECT_EQ(refused.error().retry_after, milliseconds(5000));
  EXPECT_EQ(inner.generated(), 10);
}

TEST_F(GuardedProviderTest, BadRequestsOpenNoBreaker) {
  inner.fail_always(ErrorCode::invalid_ciphertext);
  for (int i = 0; i < 1000; ++i) code();
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(GuardedProviderTest, ThrottlingBacksOffExponentially) {
  inner.fail_always(ErrorCode::kms_unavailable);
  inner.recover();
  inner.fail_next(Error{.code = ErrorCode::kms_unavailable, .message = "Rate", .throttled = true},
                  4);
  EXPECT_EQ(code(), ErrorCode::kms_unavailable);
  // 100, 200 and 400 ms, each give or take 50.
  EXPECT_GE(clock.slept(), milliseconds(550));
  EXPECT_LE(clock.slept(), milliseconds(850));
}

TEST_F(GuardedProviderTest, RetryAfterIsHonouredWithinTheBudget) {
  Error slow{.code = ErrorCode::kms_unavailable, .message = "Rate", .throttled = true};
  slow.retry_after = milliseconds(2000);
  inner.fail_next(slow);
  EXPECT_TRUE(guarded.generate_data_key(call, context));
  EXPECT_GE(clock.slept(), milliseconds(2000));
  slow.retry_after = milliseconds(60'000);
  inner.fail_next(slow);
  const auto refused = guarded.generate_data_key(call, context);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().retry_after, milliseconds(60'000));
}

TEST_F(GuardedProviderTest, EachAttemptGetsWhatIsLeftOfTheBudget) {
  std::vector<milliseconds> budgets;
  inner.on_call([&](const CallContext& attempt) {
    budgets.push_back(
        std::chrono::duration_cast<milliseconds>(attempt.deadline - clock.steady_now()));
    clock.advance(milliseconds(2000));
  });
  inner.fail_always(ErrorCode::kms_unavailable);
  code();
  ASSERT_EQ(budgets.size(), 3U);
  EXPECT_EQ(budgets[0], milliseconds(5000));
  EXPECT_LE(budgets[1], milliseconds(2950));
  EXPECT_LE(budgets[2], milliseconds(900));
}

TEST_F(GuardedProviderTest, AShorterDeadlineOfTheCallerWins) {
  CallContext hurried = call;
  hurried.deadline = clock.steady_now() + milliseconds(50);
  inner.fail_always(ErrorCode::kms_unavailable);
  EXPECT_FALSE(guarded.generate_data_key(hurried, context));
  EXPECT_EQ(inner.generated(), 1);
}

TEST_F(GuardedProviderTest, ACancelledCallIsNeitherRetriedNorCounted) {
  std::stop_source cancel;
  CallContext cancelled = call;
  cancelled.cancelled = cancel.get_token();
  cancel.request_stop();
  inner.fail_always(ErrorCode::kms_unavailable);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(guarded.generate_data_key(cancelled, context));
  EXPECT_EQ(inner.generated(), 100);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(GuardedProviderTest, ACallThatComesTooLateAsksNobodyAndCountsNothing) {
  CallContext late = call;
  late.deadline = clock.steady_now();
  inner.fail_always(ErrorCode::kms_timeout);
  for (int i = 0; i < 100; ++i) {
    const auto refused = guarded.generate_data_key(late, context);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kms_timeout);
  }
  EXPECT_EQ(inner.calls(), 0);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(GuardedProviderTest, AProbeThatThrowsGivesItsPlaceToAnother) {
  inner.fail_always(ErrorCode::kms_access_denied);
  for (int i = 0; i < 10; ++i) code();
  inner.recover();
  clock.advance(milliseconds(5000));
  inner.on_call([](const CallContext&) { throw std::runtime_error("scripted"); });
  EXPECT_THROW(code(), std::runtime_error);
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  inner.on_call({});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(guarded.generate_data_key(call, context));
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST_F(GuardedProviderTest, CountsOperationsAndErrors) {
  inner.fail_next(ErrorCode::kms_access_denied);
  code();
  EXPECT_TRUE(guarded.generate_data_key(call, context));
  const auto text = metrics.render(false);
  EXPECT_NE(text.find("kms_operation_seconds_count{provider=\"fake\",operation="
                      "\"generate_data_key\"} 2"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("kms_errors_total{operation=\"generate_data_key\",error="
                      "\"kms_access_denied\"} 1"),
            std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
