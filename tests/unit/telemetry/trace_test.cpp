#include "telemetry/trace.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/kept_spans.h"
#include "telemetry/otlp.h"

namespace betrace::kms {
namespace {

TraceContext caller(bool sampled, std::uint8_t high_byte = 0x80) {
  TraceContext trace{.sampled = sampled};
  trace.trace_id[0] = 1;
  trace.trace_id[8] = high_byte;
  trace.span_id[7] = 7;
  return trace;
}

Sampler sampler(std::string_view name, double ratio = 1) { return *Sampler::parse(name, ratio); }

struct TracerTest : testing::Test {
  FakeClock clock;
  KeptSpans sink;
  Tracer tracer{clock, sampler("parentbased_always_on"), sink};
};

TEST(Sampler, ParentBasedOnesFollowTheCallerAndOthersDoNot) {
  for (const bool sampled : {true, false}) {
    const auto trace = caller(sampled);
    for (const auto* name :
         {"parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}) {
      EXPECT_EQ(sampler(name, 0.5).sample(trace, trace.trace_id), sampled) << name;
    }
    EXPECT_TRUE(sampler("always_on").sample(trace, trace.trace_id));
    EXPECT_FALSE(sampler("always_off").sample(trace, trace.trace_id));
  }
}

TEST(Sampler, WithoutACallerTheRootDecides) {
  const auto id = caller(false).trace_id;
  EXPECT_TRUE(sampler("parentbased_always_on").sample({}, id));
  EXPECT_FALSE(sampler("parentbased_always_off").sample({}, id));
}

TEST(Sampler, RatioComparesTheLastEightBytesOfTheTraceId) {
  const auto half = sampler("traceidratio", 0.5);
  EXPECT_TRUE(half.sample({}, caller(false, 0x7f).trace_id));
  EXPECT_FALSE(half.sample({}, caller(false, 0x80).trace_id));
  std::array<std::uint8_t, 16> highest;
  highest.fill(0xff);
  EXPECT_TRUE(sampler("traceidratio", 1).sample({}, highest));
  EXPECT_FALSE(sampler("traceidratio", 0).sample({}, {}));
}

TEST(Sampler, RefusesOthersAndSaysWhatIsAccepted) {
  for (const auto& [name, ratio] : {std::pair("sometimes", 1.0), std::pair("traceidratio", 1.5),
                                    std::pair("parentbased_", 1.0)}) {
    const auto refused = Sampler::parse(name, ratio);
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find("always_on, always_off, traceidratio"),
              std::string::npos);
  }
}

TEST_F(TracerTest, ARatioRecordsAboutThatShareOfNewTraces) {
  const Tracer tenth(clock, sampler("parentbased_traceidratio", 0.1), sink);
  for (int i = 0; i < 10'000; ++i) tenth.start_server("x", {});
  EXPECT_GT(sink.spans.size(), 800U);
  EXPECT_LT(sink.spans.size(), 1200U);
}

TEST_F(TracerTest, GoesOnWithTheCallersTraceUnderItsSpan) {
  auto trace = caller(true);
  trace.state = "vendor=value";
  auto server = tracer.start_server("server", trace);
  auto child = tracer.start("child", SpanKind::client, server.context());
  child.end();
  server.end();
  ASSERT_EQ(sink.spans.size(), 2U);
  const auto &first = *sink.spans[0], &second = *sink.spans[1];
  EXPECT_EQ(first.parent_id, second.context.span_id);
  EXPECT_EQ(second.parent_id, trace.span_id);
  EXPECT_EQ(first.context.trace_id, trace.trace_id);
  EXPECT_EQ(first.context.state, "vendor=value");
  EXPECT_NE(second.context.span_id, trace.span_id);
}

TEST_F(TracerTest, WhatIsNotSampledIsNeitherRecordedNorAreItsChildren) {
  const Tracer never(clock, sampler("parentbased_always_off"), sink);
  auto server = never.start_server("server", {});
  EXPECT_TRUE(server.context().valid());
  EXPECT_FALSE(server.context().sampled);
  never.start("child", SpanKind::internal, server.context()).end();
  tracer.start_server("server", caller(false)).end();
  server.end();
  EXPECT_TRUE(sink.spans.empty());
}

TEST_F(TracerTest, OffItHandsTheCallersContextOnAndRecordsNothing) {
  auto span = Tracer::off().start_server("server", caller(true));
  EXPECT_EQ(span.context().span_id, caller(true).span_id);
  EXPECT_FALSE(span.recording());
  EXPECT_FALSE(Tracer::off().on());
}

TEST_F(TracerTest, MeasuresInWallTimeFinerThanTheClockAndTellsErrors) {
  auto span = tracer.start("x", SpanKind::internal, {});
  clock.advance(std::chrono::microseconds(1500));
  span.fail("broken");
  span.end();
  const auto& told = *sink.spans.at(0);
  EXPECT_EQ(told.ended_ns - told.begun_ns, 1'500'000);
  EXPECT_TRUE(told.failed);
  const std::vector<std::pair<std::string_view, SpanValue>> expected = {
      {"error", true}, {"error.message", std::string("broken")}, {"latency.ms", 1.5}};
  EXPECT_EQ(told.attributes, expected);
}

TEST_F(TracerTest, AWallClockSetAnewIsFollowed) {
  tracer.start("before", SpanKind::internal, {}).end();
  clock.step(std::chrono::hours(1));
  tracer.start("after", SpanKind::internal, {}).end();
  EXPECT_EQ(sink.spans[1]->begun_ns - sink.spans[0]->begun_ns, 3'600'000'000'000);
}

TEST_F(TracerTest, ADroppedSpanNeverWas) {
  tracer.start("x", SpanKind::internal, {}).drop();
  EXPECT_TRUE(sink.spans.empty());
}

TEST_F(TracerTest, BytesThatAreNotTextDoNotReachTheCollector) {
  auto span = tracer.start("x", SpanKind::internal, {});
  span.set("tenant.id", std::string_view("a\xff"
                                         "b"));
  span.end();
  const auto bytes = encode_traces({{"service.name", "s"}}, sink.spans);
  EXPECT_EQ(bytes.find('\xff' + std::string("b")), std::string::npos);
  EXPECT_NE(bytes.find("a?b"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
