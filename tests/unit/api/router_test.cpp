#include "api/router.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "api/request_identity.h"
#include "support/api_world.h"

namespace betrace::kms {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

const std::string hello = R"({"payload":"aGVsbG8="})";

TEST(Router, GivesEveryAnswerARequestId) {
  ApiWorld world;
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(world.get("/nothing").header("X-Request-Id"));
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_EQ(ids.begin()->size(), 15U);
}

TEST(Router, TakesOverASaneRequestId) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  const auto answer =
      world.call("POST", "/api/tenants/acme/sign", hello, {{"X-Request-Id", "order-42_a.B"}});
  EXPECT_EQ(answer.header("X-Request-Id"), "order-42_a.B");
  EXPECT_EQ(world.keys.last_call.request_id, "order-42_a.B");
  EXPECT_EQ(world.call("GET", "/none", "", {{"x-request-id", "abc"}}).text("requestId"), "abc");
  for (const auto& odd : {std::string("a b"), std::string("a\nb"), std::string(65, 'a'),
                          std::string("<script>"), std::string()}) {
    EXPECT_NE(world.call("GET", "/none", "", {{"X-Request-Id", odd}}).header("X-Request-Id"), odd);
  }
}

TEST(Router, HandsTheCallOnWithWhoUntilWhenAndUnderWhichTrace) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.call("POST", "/api/tenants/acme/sign", hello,
             {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}});
  const auto& call = world.keys.last_call;
  EXPECT_EQ(call.principal.kind, Principal::Kind::admin);
  EXPECT_EQ(call.principal.name, "admin");
  EXPECT_EQ(call.deadline, world.clock.steady_now() + 30s);
  EXPECT_EQ(hex_encode(call.trace.trace_id), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_TRUE(call.trace.sampled);
  ASSERT_EQ(world.spans.spans.size(), 1U);
  const auto& server = *world.spans.spans[0];
  EXPECT_EQ(server.name, "POST /api/tenants/{id}/sign");
  EXPECT_EQ(server.kind, SpanKind::server);
  EXPECT_EQ(hex_encode(server.parent_id), "b7ad6b7169203331");
  EXPECT_EQ(call.trace.span_id, server.context.span_id);
  EXPECT_TRUE(has(server, "http.response.status_code", std::int64_t{200}));
}

TEST(Router, ItsSpansTellNothingOfAPathThatNoRouteMatches) {
  ApiWorld world;
  const Headers sampled = {
      {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}};
  world.call("GET", "/none/a-secret?token=another", "", sampled);
  world.call("GET", "/q/health/live", "", sampled);
  ASSERT_EQ(world.spans.spans.size(), 1U);
  const auto& span = *world.spans.spans[0];
  EXPECT_EQ(span.name, "GET");
  EXPECT_TRUE(has(span, "http.response.status_code", std::int64_t{404}));
  EXPECT_TRUE(has(span, "error.type", std::string("not_found")));
  EXPECT_FALSE(span.failed);
  for (const auto& [name, value] : span.attributes) {
    const auto* text = std::get_if<std::string>(&value);
    EXPECT_TRUE(text == nullptr || text->find("secret") == std::string::npos) << name;
  }
}

TEST(Tracestate, IsJoinedFromItsHeadersAndLeftOutWhereItIsNotOne) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  const std::string parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const auto state_of = [&](Headers headers) {
    world.call("POST", "/api/tenants/acme/sign", hello, std::move(headers));
    return world.keys.last_call.trace.state;
  };
  EXPECT_EQ(state_of({{"traceparent", parent}, {"tracestate", "a=1"}, {"TraceState", "b=2"}}),
            "a=1,b=2");
  EXPECT_EQ(state_of({{"traceparent", "00-bad"}, {"tracestate", "a=1"}}), "");
  EXPECT_EQ(state_of({{"traceparent", parent}, {"tracestate", "a=\x01"}}), "");
  EXPECT_EQ(state_of({{"traceparent", parent}, {"tracestate", std::string(513, 'a')}}), "");
}

TEST(Traceparent, IsReadStrictly) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  EXPECT_FALSE(parse_traceparent(good).sampled);
  EXPECT_NE(parse_traceparent(good).trace_id, TraceContext().trace_id);
  EXPECT_NE(parse_traceparent("cc" + good.substr(2) + "-more").trace_id, TraceContext().trace_id);
  const std::string bads[] = {std::string(),
                              good + "-",
                              good + "x",
                              "ff" + good.substr(2),
                              "0g" + good.substr(2),
                              good.substr(0, 54),
                              "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                              "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                              "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                              "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0z",
                              "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"};
  for (const auto& bad : bads) {
    EXPECT_EQ(parse_traceparent(bad).trace_id, TraceContext().trace_id) << bad;
  }
}

TEST(Router, CountsRequestsByRouteAndStatus) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.post("/api/tenants/acme/sign", hello);
  world.post("/api/tenants/acme/sign", hello);
  world.post("/api/tenants/none/sign", hello);
  world.get("/a/secret/path");
  world.call("BREW", "/a/pot");
  world.get("/q/health/live");
  (void)world.router->refuse(ErrorCode::header_too_large, "headers of more than 16 KiB");
  const auto text = world.metrics.render(false);
  const auto has = [&](std::string_view line) { return text.find(line) != std::string::npos; };
  EXPECT_TRUE(has(R"(_count{method="POST",route="/api/tenants/{id}/sign",status="200"} 2)"))
      << text;
  EXPECT_TRUE(has(R"(_count{method="POST",route="/api/tenants/{id}/sign",status="404"} 1)"));
  EXPECT_TRUE(has(R"(_count{method="GET",route="NOT_FOUND",status="404"} 1)"));
  EXPECT_TRUE(has(R"(_count{method="OTHER",route="NOT_FOUND",status="404"} 1)"));
  EXPECT_TRUE(has(R"(_count{method="GET",route="/q/health/live",status="200"} 1)"));
  EXPECT_TRUE(has(R"(_count{method="OTHER",route="REFUSED",status="431"} 1)"));
  EXPECT_FALSE(has("acme"));
  EXPECT_FALSE(has("secret"));
}

TEST(Router, TimesFromReceptionToAnswer) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.keys.holding = true;
  const auto connection =
      world.begin({.method = "POST",
                   .target = "/api/tenants/acme/sign",
                   .headers = {{"Authorization", "Bearer " + std::string(test_token)}},
                   .body = hello});
  EXPECT_FALSE(connection->response());
  world.clock.advance(1500ms);
  world.keys.waiting.front()();
  ASSERT_TRUE(connection->response());
  EXPECT_NE(world.metrics.render(false).find(
                R"(_sum{method="POST",route="/api/tenants/{id}/sign",status="200"} 1.5)"),
            std::string::npos);
}

TEST(Router, BoundsWhatIsInFlightAndAnswersHealthEvenThen) {
  ApiWorld world(ApiSettings{.requests_in_flight_max = 3});
  world.keys.add_tenant("acme");
  world.keys.holding = true;
  std::vector<std::shared_ptr<FakeConnection>> held;
  const FakeConnection::Sent sign{
      .method = "POST",
      .target = "/api/tenants/acme/sign",
      .headers = {{"Authorization", "Bearer " + std::string(test_token)}},
      .body = hello};
  for (int i = 0; i < 3; ++i) held.push_back(world.begin(sign));
  EXPECT_EQ(world.router->in_flight(), 3U);
  const auto refused = world.raw(sign);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.code(), "overloaded");
  EXPECT_EQ(refused.header("Retry-After"), "1");
  EXPECT_EQ(world.router->in_flight(), 3U);
  EXPECT_EQ(world.get("/q/health/ready").status, 200);
  EXPECT_EQ(world.get("/q/metrics").status, 200);
  for (auto& answer : world.keys.waiting) answer();
  EXPECT_EQ(world.router->in_flight(), 0U);
  for (const auto& connection : held) EXPECT_EQ(connection->response()->status, 200);
}

TEST(Router, ADroppedCallIsAnsweredAndNoLongerInFlight) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.keys.holding = true;
  const auto connection =
      world.begin({.method = "POST",
                   .target = "/api/tenants/acme/sign",
                   .headers = {{"Authorization", "Bearer " + std::string(test_token)}},
                   .body = hello});
  world.keys.waiting.clear();
  ASSERT_TRUE(connection->response());
  EXPECT_EQ(connection->response()->status, 500);
  EXPECT_EQ(world.router->in_flight(), 0U);
}

TEST(Router, RefusesNewWorkWhenEndingAndFinishesTheOld) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.keys.holding = true;
  const auto held =
      world.begin({.method = "POST",
                   .target = "/api/tenants/acme/sign",
                   .headers = {{"Authorization", "Bearer " + std::string(test_token)}},
                   .body = hello});
  world.router->begin_shutdown();
  const auto refused = world.post("/api/tenants/acme/sign", hello);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.header("Connection"), "close");
  EXPECT_EQ(world.get("/q/health/ready").status, 503);
  EXPECT_EQ(world.get("/q/health/live").status, 200);
  world.keys.waiting.front()();
  EXPECT_EQ(held->response()->status, 200);
}

TEST(Router, SendsLargeBodiesAndLongBatchesToTheHeavyExecutor) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  world.post("/api/tenants/acme/sign", hello);
  EXPECT_EQ(world.heavy.posted, 0);
  const auto large = R"({"payload":")" + std::string(20'000, 'A') + "\"}";
  EXPECT_EQ(world.post("/api/tenants/acme/sign", large).status, 200);
  EXPECT_EQ(world.heavy.posted, 1);
  std::string batch = R"({"payloads":["AAAA")";
  for (int i = 0; i < 100; ++i) batch += R"(,"AAAA")";
  EXPECT_EQ(world.post("/api/tenants/acme/sign", batch + "]}").status, 200);
  EXPECT_EQ(world.heavy.posted, 2);
  world.heavy.full = true;
  for (const auto& body : {large, batch + "]}"}) {
    const auto refused = world.post("/api/tenants/acme/sign", body);
    EXPECT_EQ(refused.status, 503);
    EXPECT_EQ(refused.code(), "overloaded");
    EXPECT_EQ(refused.header("Retry-After"), "1");
  }
  EXPECT_EQ(world.router->in_flight(), 0U);
}

TEST(Router, AuditsMutationsAndRefusalsOnly) {
  ApiWorld world;
  world.call("PUT", "/api/tenants/acme", "", {{"X-Request-Id", "r1"}});
  world.post("/api/tenants/acme/sign", hello);
  world.get("/api/tenants/acme");
  world.post("/api/tenants/acme/rotate", "");
  world.post("/api/tenants/nobody/rotate", "");
  world.raw({.method = "POST", .target = "/api/tenants/a%20b/sign"});
  ASSERT_EQ(world.audit.entries.size(), 4U);
  const auto& created = world.audit.entries[0];
  EXPECT_EQ(created.principal, "admin");
  EXPECT_EQ(created.verb, "create-tenant");
  EXPECT_EQ(created.tenant, "acme");
  EXPECT_EQ(created.outcome, "ok");
  EXPECT_EQ(created.request_id, "r1");
  EXPECT_EQ(world.audit.entries[1].verb, "rotate");
  EXPECT_EQ(world.audit.entries[2].outcome, "tenant_not_found");
  EXPECT_EQ(world.audit.entries[3].principal, "anonymous");
  EXPECT_EQ(world.audit.entries[3].tenant, "a%20b");
  EXPECT_EQ(world.audit.entries[3].outcome, "unauthenticated");
}

TEST(Router, AnAuditThatFailsFailsTheCall) {
  ApiWorld world;
  world.audit.error =
      Error{.code = ErrorCode::internal, .message = "the audit log is full", .type = {}};
  const auto answer = world.call("PUT", "/api/tenants/acme");
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(answer.text("detail"), "the audit log is full");
}

TEST(AuditLine, CannotBeForged) {
  const auto line = audit_line({.at = {},
                                .principal = "admin",
                                .verb = "create-tenant",
                                .tenant = "a b\noutcome=ok \"x\"",
                                .outcome = "invalid_argument",
                                .request_id = "r"});
  EXPECT_EQ(line,
            "principal=admin verb=create-tenant tenant=a\\x20b\\x0aoutcome\\x3dok\\x20\\x22x\\x22 "
            "outcome=invalid_argument request_id=r");
  const std::string endless(5000, 'x');
  EXPECT_LT(audit_line({.at = {},
                        .principal = "admin",
                        .verb = "v",
                        .tenant = endless,
                        .outcome = "ok",
                        .request_id = "r"})
                .size(),
            300U);
  EXPECT_NE(audit_line({.at = {},
                        .principal = "admin",
                        .verb = "v",
                        .tenant = "",
                        .outcome = "ok",
                        .request_id = "r"})
                .find("tenant=- "),
            std::string::npos);
}

TEST(LogAuditSink, AlwaysRecords) {
  LogAuditSink sink;
  EXPECT_TRUE(sink.record({.at = {},
                           .principal = "admin",
                           .verb = "rotate",
                           .tenant = "acme",
                           .outcome = "ok",
                           .request_id = "r"}));
}

TEST(LogAuditSink, AStormOfRefusalsIsCountedAndWhatWasDoneHasItsLine) {
  testing::internal::CaptureStderr();
  {
    LogAuditSink sink;
    const SystemTime begun{std::chrono::hours(1)};
    for (int n = 0; n < 822; ++n) {
      EXPECT_TRUE(sink.record({.at = begun,
                               .principal = "anonymous",
                               .verb = "sign",
                               .tenant = "acme",
                               .outcome = "unauthenticated",
                               .request_id = "r1"}));
      EXPECT_TRUE(sink.record({.at = begun,
                               .principal = "admin",
                               .verb = "rotate",
                               .tenant = "acme",
                               .outcome = "ok",
                               .request_id = "r2"}));
    }
  }
  const auto log = testing::internal::GetCapturedStderr();
  const auto count = [&log](std::string_view what) {
    std::size_t found = 0;
    for (auto at = log.find(what); at != std::string::npos; at = log.find(what, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("outcome=unauthenticated request_id=r1"), LogAuditSink::refusals_a_second);
  EXPECT_EQ(count("principal=anonymous verb=sign tenant=* outcome=unauthenticated repeated=812"),
            1U);
  EXPECT_EQ(count("verb=rotate tenant=acme outcome=ok"), 822U);
}

TEST(Router, ServesManyThreadsAtOnce) {
  ApiWorld world;
  const char* const targets[] = {"/q/health/ready", "/q/metrics", "/api/admin/cache/config",
                                 "/nothing", "/api/admin/kms/status"};
  std::atomic<int> answered = 0;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < 200; ++i) {
          const auto answer = world.get(targets[i % std::size(targets)]);
          answered += answer.status == 200 || answer.status == 404;
        }
      });
    }
  }
  EXPECT_EQ(answered, 800);
  EXPECT_EQ(world.router->in_flight(), 0U);
}

TEST(Router, AllowsLargeBodiesToKnownCallersOnly) {
  ApiWorld world;
  const auto limit = [&](std::string method, std::string target, Headers headers) {
    const FakeConnection connection(
        {.method = std::move(method), .target = std::move(target), .headers = std::move(headers)},
        world.clock.steady_now());
    return world.router->limits(connection.request()).body_bytes_max;
  };
  const std::pair<std::string, std::string> token = {"Authorization",
                                                     "Bearer " + std::string(test_token)};
  const std::string sign = "/api/tenants/acme/sign";
  EXPECT_EQ(limit("POST", sign, {token}), 16U << 20);
  EXPECT_EQ(limit("POST", sign, {{"Content-Length", "400"}}), 16U << 20);
  EXPECT_EQ(limit("POST", sign, {}), 1U << 20);
  EXPECT_EQ(limit("POST", sign, {{"Content-Length", "9000000"}}), 1U << 20);
  EXPECT_EQ(limit("POST", "/api/tenants/acme/rotate", {token}), 1U << 20);
  EXPECT_EQ(limit("GET", "/nothing", {token}), 1U << 20);
}

TEST(Router, RefusesForTheServer) {
  ApiWorld world;
  const auto response = world.router->refuse(ErrorCode::request_timeout, "no body within 30 s");
  EXPECT_EQ(response.status, 408);
  EXPECT_EQ(response.content_type, "application/problem+json");
  const auto text = std::string(response.body);
  EXPECT_NE(text.find(R"("code":"request_timeout","detail":"no body within 30 s")"),
            std::string::npos);
  EXPECT_EQ(world.router->refuse(ErrorCode::overloaded, "x").headers[0].first, "Retry-After");
}

}  // namespace
}  // namespace betrace::kms
