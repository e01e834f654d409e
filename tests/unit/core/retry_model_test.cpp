// A hundred thousand random calls of GuardedProvider beside the contract's paragraph: which errors
// are tried again, how often and after what pause, within which budget, and what each attempt
// counts in the breaker (breaker_model.h). The jitter is the product's own; all else is foretold.
#include <algorithm>
#include <array>
#include <iterator>
#include <random>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/guarded_provider.h"
#include "support/breaker_model.h"
#include "support/fake_clock.h"
#include "support/fake_provider.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using Time = std::chrono::steady_clock::time_point;
using Difference = std::optional<std::string>;
using Outcome = CircuitBreaker::Outcome;
using enum ErrorCode;

struct Options {
  RetryOptions retry;
  BreakerModel::Options breaker = {};
};

// How the provider answers one attempt.
struct Answer {
  std::optional<Error> error;
  nanoseconds takes{};
  bool hangs = false;          // until the attempt's deadline, and answers a time-out
  bool caller_leaves = false;  // meanwhile

  Time at(Time begun, Time deadline) const {
    return hangs ? std::max(begun, deadline) : begun + takes;
  }
};

struct Attempt {
  Time begun, deadline;
};

// What came of one call of the product.
struct Told {
  Time begun, ended;
  std::vector<Attempt> attempts;
  std::optional<Error> error;
  nanoseconds slept{};
};

// What the calls met: what they never met was not compared.
struct Met {
  long retried = 0, gave_up = 0, refused_first = 0, refused_later = 0, out_of_time = 0;
  long never_begun = 0, hung = 0, left = 0, throttled = 0, asked_to_wait = 0, opened = 0;
  std::set<long> first_pauses;  // in milliseconds, of the plain kind
};

// "Retried: throttling, time-outs, 5xx, connection errors" and "Failures: access denied, disabled
// key, time-out, 5xx, connection"; throttling arrives as kms_unavailable.
bool tried_again(ErrorCode code) { return code == kms_unavailable || code == kms_timeout; }
Outcome counted(const Answer& answer) {
  if (!answer.error) return Outcome::success;
  const auto code = answer.error->code;
  const bool unwell = tried_again(code) || code == kms_access_denied || code == kms_key_disabled;
  return unwell && !answer.caller_leaves ? Outcome::failure : Outcome::neutral;
}

// "3 times, 100 ms ± 50 ms, throttling with exponential back-off and Retry-After"
std::pair<milliseconds, milliseconds> pause(const RetryOptions& options, const Error& error,
                                            int retry) {
  auto middle = options.delay;
  for (int i = 0; error.throttled && i < retry; ++i) middle *= 2;
  const auto asked = error.retry_after.value_or(milliseconds(0));
  return {std::max(middle - options.jitter, asked), std::max(middle + options.jitter, asked)};
}

class RetryModel {
 public:
  RetryModel(const Options& options, Met& met)
      : breaker(options.breaker), options_(options.retry), met_(met) {}

  // The first difference between what the product told and what it had to do. Jitter is in the
  // bounds of the pauses; where it decides whether the budget holds another attempt, either will
  // do.
  Difference judge(const std::vector<Answer>& script, Time callers_deadline, const Told& told) {
    const auto deadline = std::min(callers_deadline, told.begun + options_.timeout);
    auto now = told.begun;
    if (now >= deadline) return (++met_.never_begun, ends(told, 0, kms_timeout, now));
    for (int n = 0;; ++n) {
      const auto call = breaker.begin(now);
      if (!call) {
        ++(n == 0 ? met_.refused_first : met_.refused_later);
        return ends(told, n, circuit_open, now);
      }
      if (std::ssize(told.attempts) <= n) return fmt::format("attempt {} was not made", n);
      const auto& attempt = told.attempts[static_cast<std::size_t>(n)];
      if (attempt.begun != now) return fmt::format("attempt {} at another time", n);
      if (attempt.deadline != deadline) return fmt::format("attempt {}: other deadline", n);
      const auto& answer = script[static_cast<std::size_t>(n)];
      now = answer.at(now, deadline);
      breaker.end(*call, counted(answer), now);
      met_.hung += answer.hangs;
      met_.left += answer.caller_leaves;
      if (!answer.error) return ends(told, n + 1, std::nullopt, now);
      const auto code = answer.error->code;
      const bool again = tried_again(code) && n < options_.max_retries && !answer.caller_leaves;
      if (!again) {
        met_.gave_up += n == options_.max_retries;
        return ends(told, n + 1, code, now);
      }
      const auto [least, most] = pause(options_, *answer.error, n);
      const bool went_on =
          std::ssize(told.attempts) > n + 1 || (told.error && told.error->code == circuit_open);
      if (!went_on) {
        if (now + most < deadline) return fmt::format("retry {} was in time and not made", n);
        ++met_.out_of_time;
        return ends(told, n + 1, code, now);
      }
      const auto next = std::ssize(told.attempts) > n + 1
                            ? told.attempts[static_cast<std::size_t>(n) + 1].begun
                            : told.ended;
      if (next >= deadline) return fmt::format("retry {} after the deadline", n);
      if (next - now < least || next - now > most) {
        return fmt::format("pause {}: {} ns", n, nanoseconds(next - now).count());
      }
      meet(*answer.error, n, next - now);
      now = next;
    }
  }

  BreakerModel breaker;

 private:
  static Difference ends(const Told& told, int attempts, std::optional<ErrorCode> code, Time now) {
    const auto name = [](const auto& c) { return c ? to_string(*c) : std::string_view("success"); };
    const auto got = told.error ? std::optional(told.error->code) : std::nullopt;
    if (std::ssize(told.attempts) != attempts) {
      return fmt::format("{} attempts and not {}", told.attempts.size(), attempts);
    }
    if (got != code) return fmt::format("answers {} and not {}", name(got), name(code));
    if (told.ended != now) return "ends at another time";
    return std::nullopt;
  }

  void meet(const Error& error, int retry, nanoseconds paused) {
    ++met_.retried;
    met_.throttled += error.throttled;
    met_.asked_to_wait += error.retry_after.has_value();
    if (retry == 0 && !error.retry_after) met_.first_pauses.insert(paused / milliseconds(1));
  }

  const RetryOptions options_;
  Met& met_;
};

class Calls {
 public:
  Calls(const Options& options, unsigned seed, Met& met)
      : random_(seed),
        met_(met),
        breaker_("modelled", options.breaker.of_the_product(), clock_,
                 [this](const std::string&, BreakerState state) { told_.push_back(state); }),
        guarded_(inner_, breaker_, options.retry, clock_, metrics_),
        model_(options, met) {
    inner_.on_call([this](const CallContext& attempt) { begin(attempt); });
    wrapping_ = inner_.encrypt(context_, std::array<std::uint8_t, 32>{}, {}).value();
  }

  Difference next() {
    if (below(50) == 0) weather_ = below(101);
    script_.clear();
    while (below(100) < weather_ && script_.size() < 8) script_.push_back(failure());
    script_.push_back({.takes = some_time(40), .caller_leaves = below(50) == 0});
    for (const auto& answer : script_) {
      if (answer.error) inner_.fail_next(*answer.error);
    }
    const auto told = call();
    inner_.recover();
    if (auto difference = model_.judge(script_, context_.deadline, told)) return difference;
    if (told.slept != told.ended - told.begun - worked_) return "slept another time";
    if (auto difference = compare_breaker()) return difference;
    if (below(3) == 0) clock_.advance(some_time(6000));
    if (below(3) == 0) {
      breaker_.tick();
      model_.breaker.timer(clock_.steady_now());
    }
    return compare_breaker();
  }

 private:
  unsigned below(unsigned end) { return static_cast<unsigned>(random_() % end); }
  nanoseconds some_time(unsigned milliseconds_max) {
    return milliseconds(below(milliseconds_max)) + nanoseconds(below(1'000'000));
  }

  Answer failure() {
    // Everything a provider could answer; the breaker's own refusal is no provider's.
    static constexpr ErrorCode others[] = {invalid_argument,  invalid_ciphertext, tenant_not_found,
                                           key_not_found,     destroyed,          rate_limited,
                                           request_timeout,   internal,           corrupt,
                                           not_implemented,   wrapped_elsewhere,  overloaded,
                                           store_unavailable, kms_access_denied,  kms_key_disabled,
                                           kms_access_denied, kms_key_disabled};
    Answer answer{.error = Error{.code = kms_unavailable, .message = "scripted"},
                  .takes = some_time(below(5) == 0 ? 2500 : 30),
                  .caller_leaves = below(50) == 0};
    const auto kind = below(100);
    if (kind < 20) {
      answer.error->throttled = true;
      if (below(2) == 0) answer.error->retry_after = milliseconds(below(5000));
    } else if (kind < 25) {
      answer.error->retry_after = milliseconds(below(300));
    } else if (kind < 45) {
      answer.error->code = kms_timeout;
      answer.hangs = below(3) == 0;
    } else if (kind < 65) {
      answer.error->code = others[below(std::size(others))];
    }
    return answer;
  }

  // The provider's side of an attempt. A success of generate_data_key begins twice in the fake.
  void begin(const CallContext& attempt) {
    if (attempts_.size() >= script_.size()) return;
    const auto begun = clock_.steady_now();
    const auto& answer = script_[attempts_.size()];
    attempts_.push_back({.begun = begun, .deadline = attempt.deadline});
    const auto took = answer.at(begun, attempt.deadline) - begun;
    clock_.advance(took);
    worked_ += took;
    if (answer.caller_leaves) leave_.request_stop();
  }

  Told call() {
    attempts_.clear();
    worked_ = {};
    leave_ = {};
    const auto begun = clock_.steady_now();
    const auto slept = clock_.slept();
    context_.cancelled = leave_.get_token();
    context_.deadline = below(4) == 0 ? begun + some_time(6000) : Time::max();
    if (below(40) == 0) context_.deadline = begun - nanoseconds(below(2));
    const int calls = inner_.calls();
    auto error = operation();
    EXPECT_EQ(inner_.calls() - calls, std::ssize(attempts_));
    return {.begun = begun,
            .ended = clock_.steady_now(),
            .attempts = attempts_,
            .error = std::move(error),
            .slept = clock_.slept() - slept};
  }

  std::optional<Error> operation() {
    const auto error_of = [](const auto& result) {
      return result ? std::nullopt : std::optional(result.error());
    };
    switch (below(4)) {
      case 0:
        return error_of(guarded_.generate_data_key(context_, {}));
      case 1:
        return error_of(guarded_.encrypt(context_, std::array<std::uint8_t, 32>{}, {}));
      case 2:
        return error_of(guarded_.decrypt(context_, wrapping_, {}));
      default:
        return error_of(guarded_.describe_key(context_));
    }
  }

  Difference compare_breaker() {
    if (breaker_.state() != model_.breaker.state()) return "another state of the breaker";
    if (told_ != model_.breaker.changes()) return "other changes of the breaker";
    for (; seen_ < told_.size(); ++seen_) met_.opened += told_[seen_] == BreakerState::open;
    return std::nullopt;
  }

  std::mt19937 random_;
  Met& met_;
  unsigned weather_ = 30;  // percent of the attempts that fail
  FakeClock clock_;
  FakeProvider inner_;
  Metrics metrics_{"fake"};
  std::vector<BreakerState> told_;
  std::size_t seen_ = 0;
  CircuitBreaker breaker_;
  GuardedProvider guarded_;
  RetryModel model_;
  std::stop_source leave_;
  CallContext context_ = CallContext::system("test");
  Wrapping wrapping_;
  std::vector<Answer> script_;
  std::vector<Attempt> attempts_;
  nanoseconds worked_{};  // by the provider, in this call
};

constexpr Options modelled[] = {
    {},  // the contract's
    {.retry = {.max_retries = 0}, .breaker = {.volume = 4}},
    {.retry = {.max_retries = 5, .delay = milliseconds(20), .jitter = milliseconds(0)},
     .breaker = {.volume = 30, .percent = 80}},
    {.retry = {.delay = milliseconds(60),
               .jitter = milliseconds(60),
               .timeout = milliseconds(700)}},
};

struct RetryModelTest : testing::Test {
  RetryModelTest() { EXPECT_TRUE(set_log_level(log_category::kms, "OFF").has_value()); }
  ~RetryModelTest() override { EXPECT_TRUE(set_log_level(log_category::kms, "INFO").has_value()); }
};

void expect_met_all(const Met& met, const std::string& where, bool retries) {
  EXPECT_GT(met.gave_up, 10) << where;
  EXPECT_GT(met.refused_first, 10) << where;
  EXPECT_GT(met.never_begun, 10) << where;
  EXPECT_GT(met.hung, 10) << where;
  EXPECT_GT(met.left, 10) << where;
  EXPECT_GT(met.opened, 10) << where;
  if (!retries) return;
  EXPECT_GT(met.retried, 10) << where;
  EXPECT_GT(met.refused_later, 10) << where;
  EXPECT_GT(met.out_of_time, 10) << where;
  EXPECT_GT(met.throttled, 10) << where;
  EXPECT_GT(met.asked_to_wait, 10) << where;
}

TEST_F(RetryModelTest, AHundredThousandRandomCallsShowNoDifference) {
  constexpr unsigned seeds = 25;
  constexpr int calls = 100'000 / (seeds * static_cast<int>(std::size(modelled)));
  for (std::size_t row = 0; row < std::size(modelled); ++row) {
    Met met;
    for (unsigned seed = 0; seed < seeds; ++seed) {
      Calls walk(modelled[row], seed, met);
      for (int call = 0; call < calls; ++call) {
        if (const auto difference = walk.next()) {
          FAIL() << "options " << row << ", seed " << seed << ", call " << call << ": "
                 << *difference;
        }
      }
    }
    expect_met_all(met, "options " + std::to_string(row), modelled[row].retry.max_retries > 0);
    if (modelled[row].retry.max_retries == 0) continue;
    // Each whole millisecond within the jitter.
    EXPECT_EQ(std::ssize(met.first_pauses), 2 * modelled[row].retry.jitter.count() + 1);
  }
}

}  // namespace
}  // namespace betrace::kms
