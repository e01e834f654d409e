#include "telemetry/span_exporter.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "support/fake_clock.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A collector that answers in this order, then 200, and can be made to hang.
class FakeCollector final : public HttpClient {
 public:
  std::vector<HttpAnswer> answers;  // status 0: no answer
  Result<HttpAnswer> send(const HttpCall& call) override {
    std::unique_lock lock(mutex_);
    calls_.push_back(call.url);
    sizes_.push_back(spans_in(call.body));
    for (const auto& header : call.headers) headers_.push_back(header);
    changed_.notify_all();
    changed_.wait(lock, [&] { return !hanging_; });
    if (answers.empty()) return HttpAnswer{.status = 200};
    auto answer = answers.front();
    answers.erase(answers.begin());
    if (answer.status == 0) return fail(ErrorCode::kms_unavailable, "connection refused");
    return answer;
  }
  void hang(bool hanging) {
    const std::lock_guard lock(mutex_);
    hanging_ = hanging;
    changed_.notify_all();
  }
  void wait_calls(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return sizes_.size() >= count; });
  }
  std::vector<std::size_t> sizes() const {
    const std::lock_guard lock(mutex_);
    return sizes_;
  }
  Headers headers() const {
    const std::lock_guard lock(mutex_);
    return headers_;
  }

 private:
  static std::size_t spans_in(std::string_view body) {
    std::size_t count = 0;
    for (auto at = body.find("a-span"); at != std::string_view::npos;
         at = body.find("a-span", at + 1)) {
      ++count;
    }
    return count;
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> calls_;
  std::vector<std::size_t> sizes_;
  Headers headers_;
  bool hanging_ = false;
};

struct SpanExporterTest : testing::Test {
  FakeClock clock;
  FakeCollector collector;
  prometheus::Counter dropped;
  SpanExporterOptions options{.url = "http://collector/v1/traces",
                              .headers = {{"x-token", "t"}},
                              .batch_delay = milliseconds(1)};
  std::unique_ptr<SpanExporter> exporter;

  void start() { exporter = std::make_unique<SpanExporter>(options, collector, clock, dropped); }
  void take(int count) {
    for (int i = 0; i < count; ++i) {
      exporter->take(std::make_unique<SpanData>(SpanData{.name = "a-span"}));
    }
  }
};

TEST_F(SpanExporterTest, SendsWhatIsQueuedWhenItEnds) {
  options.batch_delay = std::chrono::hours(1);
  start();
  take(3);
  exporter.reset();
  EXPECT_EQ(collector.sizes(), std::vector<std::size_t>{3});
  EXPECT_EQ(dropped.Value(), 0);
  const auto headers = collector.headers();
  EXPECT_NE(std::ranges::find(headers, std::pair<std::string, std::string>("x-token", "t")),
            headers.end());
}

TEST_F(SpanExporterTest, AFullBatchGoesAtOnceAndNoneIsLarger) {
  options.batch_delay = std::chrono::hours(1);
  start();
  take(512);
  collector.wait_calls(1);
  take(700);
  exporter.reset();
  EXPECT_EQ(collector.sizes(), (std::vector<std::size_t>{512, 512, 188}));
}

TEST_F(SpanExporterTest, AFullQueueDropsAndCountsAndHoldsNobodyUp) {
  collector.hang(true);
  start();
  take(1);
  collector.wait_calls(1);
  take(2048 + 100);
  EXPECT_EQ(dropped.Value(), 100);
  collector.hang(false);
  exporter.reset();
  EXPECT_EQ(dropped.Value(), 100);
}

TEST_F(SpanExporterTest, TriesAgainAfterTransientAnswersAsTheySay) {
  collector.answers = {{.status = 503, .headers = {{"retry-after", "7"}}},
                       {.status = 0},
                       {.status = 429},
                       {.status = 502},
                       {.status = 504}};
  start();
  take(1);
  collector.wait_calls(6);
  exporter.reset();
  EXPECT_EQ(collector.sizes().size(), 6U);
  EXPECT_EQ(dropped.Value(), 0);
  EXPECT_EQ(clock.slept(), seconds(7 + 2 + 4 + 8 + 16));
}

TEST_F(SpanExporterTest, AnyOtherAnswerIsFinal) {
  collector.answers = {{.status = 400}, {.status = 500}};
  start();
  take(1);
  collector.wait_calls(1);
  take(1);
  exporter.reset();
  EXPECT_EQ(collector.sizes().size(), 2U);
  EXPECT_EQ(dropped.Value(), 2);
  EXPECT_EQ(clock.slept(), seconds(0));
}

TEST_F(SpanExporterTest, GivesABatchUpAfterAMinute) {
  collector.answers.assign(20, {.status = 0});
  start();
  take(1);
  collector.wait_calls(6);
  exporter.reset();
  EXPECT_EQ(dropped.Value(), 1);
  EXPECT_LE(clock.slept(), seconds(60));
}

}  // namespace
}  // namespace betrace::kms
