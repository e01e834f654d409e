#include "net/curl_client.h"

#include <cstdlib>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "telemetry/version.h"
#include "unit/net/net_test_support.h"
#include "unit/net/test_certificates.h"

namespace betrace::kms {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::Running;
using test::ScriptedServer;

HttpCall call_to(std::uint16_t port, std::string_view path, std::string_view method = "GET",
                 std::string_view body = "") {
  HttpCall call;
  call.method = method;
  call.url = fmt::format("http://127.0.0.1:{}{}", port, path);
  call.body = body;
  return call;
}

std::string error_of(const Result<HttpAnswer>& answer, ErrorCode code) {
  if (answer) return fmt::format("no error but status {}", answer->status);
  EXPECT_EQ(answer.error().code, code) << answer.error().message;
  return answer.error().message;
}

TEST(CurlClient, SendsMethodHeadersAndBody) {
  Running running;
  const auto client = make_http_client();
  for (const auto* method : {"GET", "POST", "PUT", "DELETE", "PATCH"}) {
    auto call = call_to(running.port(), "/describe?a=b", method, "body");
    call.headers = {{"X-Token", "t1"}, {"Content-Type", "application/json"}, {"X-Empty", ""}};
    const auto answer = client->send(call);
    ASSERT_TRUE(answer) << answer.error().message;
    const std::string text(std::string_view(answer->body));
    EXPECT_TRUE(text.starts_with(fmt::format("{} /describe?a=b ", method))) << text;
    EXPECT_NE(text.find(fmt::format("User-Agent=betrace-kms/{}\n", version())), std::string::npos);
    EXPECT_NE(text.find("X-Token=t1\nContent-Type=application/json\nX-Empty=\n"),
              std::string::npos);
    EXPECT_TRUE(text.ends_with("body=body"));
  }
}

TEST(CurlClient, HandsTheTraceOnUnlessTheCallIsSignedForAws) {
  Running running;
  auto call = call_to(running.port(), "/describe");
  call.trace = {.sampled = true, .state = "vendor=value"};
  call.trace.trace_id.fill(0xab);
  call.trace.span_id.fill(0xcd);
  const auto client = make_http_client();
  const auto sent = client->send(call);
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_NE(std::string_view(sent->body)
                .find("traceparent=00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01\n"
                      "tracestate=vendor=value\n"),
            std::string_view::npos);
  call.aws = AwsSigning{.region = "us-east-1",
                        .service = "kms",
                        .access_key_id = "id",
                        .secret_access_key = "secret"};
  const auto signed_one = client->send(call);
  ASSERT_TRUE(signed_one) << signed_one.error().message;
  EXPECT_EQ(std::string_view(signed_one->body).find("traceparent"), std::string_view::npos);
}

TEST(CurlClient, HandsBackStatusHeadersAndPhases) {
  ScriptedServer server({.answer = "HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"
                                   "HTTP/1.1 503 Slow Down\r\nRetry-After:  7 \r\n"
                                   "Content-Length: 4\r\n\r\nbusy"});
  const auto answer = make_http_client()->send(call_to(server.port(), "/"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->header("retry-after"), "7");
  EXPECT_EQ(answer->header("x-interim"), "");
  EXPECT_EQ(std::string_view(answer->body), "busy");
  EXPECT_GT(answer->phases.connect.count(), 0);
  EXPECT_GE(answer->phases.total, answer->phases.first_byte);
}

TEST(CurlClient, UsesItsConnectionAgain) {
  Running running;
  const auto client = make_http_client();
  for (int i = 0; i < 20; ++i) {
    const auto answer = client->send(call_to(running.port(), "/echo", "POST", "again"));
    ASSERT_TRUE(answer) << answer.error().message;
  }
  EXPECT_EQ(running.server->connections(), 1U);
}

TEST(CurlClient, SurvivesAConnectionThatWentStale) {
  Running running({.idle_timeout = 50ms});
  const auto client = make_http_client();
  for (int i = 0; i < 3; ++i) {
    const auto answer = client->send(call_to(running.port(), "/echo", "POST", "again"));
    ASSERT_TRUE(answer) << answer.error().message;
    ASSERT_TRUE(eventually([&] { return running.server->connections() == 0; }));
  }
}

TEST(CurlClient, ServesManyThreads) {
  Running running;
  const auto client = make_http_client();
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 50; ++i) {
          const auto body = fmt::format("{}/{}", t, i);
          const auto answer = client->send(call_to(running.port(), "/echo", "POST", body));
          if (answer && std::string_view(answer->body) == body) ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, 8 * 50);
}

TEST(CurlClient, SendsABodyLargeEnoughForAnExpectation) {
  Running running;
  const std::string body(1 << 20, 'x');
  auto call = call_to(running.port(), "/echo", "POST", body + "");
  const auto answer = make_http_client()->send(call);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->body.size(), body.size());
}

TEST(CurlClient, AnswersToHeadHaveNoBody) {
  Running running;
  const auto answer = make_http_client()->send(call_to(running.port(), "/bytes?7", "HEAD"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->header("content-length"), "7");
  EXPECT_TRUE(answer->body.empty());
}

TEST(CurlClient, GivesUpWhenTheTimeIsOver) {
  Running running;
  auto call = call_to(running.port(), "/later", "POST", "x");
  call.timeout = 100ms;
  const auto message = error_of(make_http_client()->send(call), ErrorCode::kms_timeout);
  EXPECT_TRUE(message.starts_with(
      fmt::format("waiting for the answer of 127.0.0.1:{} failed: Operation timed out after 1",
                  running.port())))
      << message;

  ScriptedServer slow(
      {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", .close = false});
  call.url = fmt::format("http://127.0.0.1:{}/", slow.port());
  EXPECT_TRUE(error_of(make_http_client()->send(call), ErrorCode::kms_timeout)
                  .starts_with("reading the answer of 127.0.0.1:"));
}

TEST(CurlClient, SaysThatNobodyListens) {
  std::uint16_t port = 0;
  {
    const Running running;
    port = running.port();
  }
  const auto message =
      error_of(make_http_client()->send(call_to(port, "/")), ErrorCode::kms_unavailable);
  EXPECT_TRUE(message.starts_with(fmt::format(
      "connecting to 127.0.0.1:{0} failed: Failed to connect to 127.0.0.1 port {0}", port)))
      << message;
}

TEST(CurlClient, SaysThatANameIsUnknown) {
  HttpCall call;
  call.url = "http://kms.us-nowhere-1.invalid/";
  const auto answer = make_http_client()->send(call);
  ASSERT_FALSE(answer);
  EXPECT_TRUE(answer.error().message.starts_with(
      "resolving the name of kms.us-nowhere-1.invalid:80 failed: "))
      << answer.error().message;
}

TEST(CurlClient, RefusesAnAnswerThatIsTooLarge) {
  Running running;
  auto call = call_to(running.port(), "/bytes?1001");
  call.answer_bytes_max = 1000;
  EXPECT_EQ(error_of(make_http_client()->send(call), ErrorCode::kms_unavailable),
            fmt::format("the answer of 127.0.0.1:{} is larger than 1000 bytes", running.port()));
  call.url = fmt::format("http://127.0.0.1:{}/bytes?1000", running.port());
  EXPECT_TRUE(make_http_client()->send(call));
}

TEST(CurlClient, HalfAnAnswerIsAnError) {
  for (const auto* half : {"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf"}) {
    ScriptedServer server({.answer = half});
    const auto message =
        error_of(make_http_client()->send(call_to(server.port(), "/", "POST", "request")),
                 ErrorCode::kms_unavailable);
    EXPECT_NE(message.find(fmt::format("the answer of 127.0.0.1:{} failed: ", server.port())),
              std::string::npos)
        << half << ": " << message;
  }
}

TEST(CurlClient, FollowsNoRedirect) {
  ScriptedServer server({.answer = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
                                   "Content-Length: 0\r\n\r\n"});
  const auto answer = make_http_client()->send(call_to(server.port(), "/"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->status, 302);
}

TEST(CurlClient, SpeaksHttpOnly) {
  const auto client = make_http_client();
  HttpCall call;
  for (const auto* url :
       {"file:///etc/hostname", "ftp://localhost/", "", "http://", "http://a b/"}) {
    call.url = url;
    EXPECT_TRUE(error_of(client->send(call), ErrorCode::kms_unavailable)
                    .starts_with(fmt::format("not a usable URL: '{}'", url)));
  }
}

TEST(CurlClient, SendsNoHeaderWithALineBreak) {
  auto call = call_to(1, "/");
  call.headers = {{"X-Vault-Token", "token\nX-Injected: 1"}};
  EXPECT_EQ(error_of(make_http_client()->send(call), ErrorCode::kms_unavailable),
            "the value of header X-Vault-Token holds a line break or NUL");
}

TEST(CurlClient, GoesPastProxiesToLoopback) {
  Running running;
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  const auto answer = make_http_client()->send(call_to(running.port(), "/echo", "POST", "direct"));
  ::unsetenv("http_proxy");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(std::string_view(answer->body), "direct");
}

// Whoever is there, or nobody: the proxy, which is not there, would be named.
TEST(CurlClient, GoesPastProxiesToTheMetadataServicesOfClouds) {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  for (const auto* const host :
       {"169.254.169.254", "[fd00:ec2::254]", "[fd00:ec2::23]", "metadata.google.internal"}) {
    auto call = call_to(1, "/");
    call.url = fmt::format("http://{}:1/", host);
    call.timeout = std::chrono::milliseconds(200);
    const auto answer = make_http_client()->send(call);
    const auto said = answer ? std::string() : answer.error().message;
    EXPECT_EQ(said.find("127.0.0.1"), std::string::npos) << host << said;
  }
  ::unsetenv("http_proxy");
}

TEST(CurlClient, SpeaksOverAUnixSocket) {
  const auto path = testing::TempDir() + fmt::format("betrace-net-{}.sock", getpid());
  ScriptedServer server(
      {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", .unix_socket = path});
  HttpCall call;
  call.url = "http://agent/token";
  call.unix_socket = path;
  const auto answer = make_http_client()->send(call);
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(std::string_view(answer->body), "ok");
  EXPECT_TRUE(server.last_request().starts_with("GET /token HTTP/1.1\r\nHost: agent\r\n"));
}

TEST(CurlClient, TrustsTheGivenAuthorityOnly) {
  const test::TestCertificates known("client-known");
  const test::TestCertificates other("client-other");
  Running running({.tls = TlsOptions{
                       .port = 0, .certificate_file = known.server, .key_file = known.server_key}});
  HttpCall call;
  call.url = fmt::format("https://127.0.0.1:{}/describe", running.server->tls_port());
  const auto client = make_http_client();
  call.ca_file = known.ca;
  EXPECT_TRUE(client->send(call));
  for (const auto& file : {other.ca, std::string(), known.folder + "missing.pem"}) {
    call.ca_file = file;
    EXPECT_TRUE(error_of(client->send(call), ErrorCode::kms_unavailable)
                    .starts_with(fmt::format("TLS handshake with 127.0.0.1:{} failed: ",
                                             running.server->tls_port())));
  }
}

TEST(CurlClient, ShowsItsCertificateToAServerThatAsksForOne) {
  const test::TestCertificates known("client-mutual");
  Running running({.tls = TlsOptions{.port = 0,
                                     .certificate_file = known.server,
                                     .key_file = known.server_key,
                                     .client_auth = ClientAuth::required,
                                     .client_ca_file = known.ca}});
  HttpCall call;
  call.url = fmt::format("https://127.0.0.1:{}/describe", running.server->tls_port());
  call.ca_file = known.ca;
  const auto client = make_http_client();
  call.client_certificate = known.client;
  call.client_key = known.client_key;
  const auto shown = client->send(call);
  EXPECT_TRUE(shown) << shown.error().message;
  // A connection on which it was shown must not serve a call without it.
  call.client_certificate = call.client_key = "";
  EXPECT_FALSE(client->send(call));
}

}  // namespace
}  // namespace betrace::kms
