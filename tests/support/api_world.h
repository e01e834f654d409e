// A router with everything around it faked, and a client that calls it without a socket.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "api/access.h"
#include "api/router.h"
#include "base/executor.h"
#include "support/api_fakes.h"
#include "support/evidence_fake.h"
#include "support/fake_clock.h"
#include "support/kept_spans.h"
#include "support/lifecycle_fakes.h"
#include "telemetry/metrics.h"

namespace betrace::kms {

inline constexpr std::string_view test_token = "a-token-of-the-tests-0123456789";

// Runs jobs at once, or refuses them all.
class CountingExecutor final : public Executor {
 public:
  bool full = false;
  int posted = 0;
  bool post(Job job) override {
    if (full) return false;
    ++posted;
    job();
    return true;
  }
};

struct ApiAnswer {
  int status = 0;
  std::string type, body;
  Headers headers;

  std::string header(std::string_view name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return {};
  }
  boost::json::value json() const {
    boost::json::error_code ec;
    auto value = boost::json::parse(body, ec);
    EXPECT_FALSE(ec) << body;
    return value;
  }
  // Empty where there is no such field.
  std::string text(std::string_view field) const {
    boost::json::error_code ec;
    const auto value = boost::json::parse(body, ec);
    if (ec || !value.is_object()) return {};
    const auto* found = value.as_object().if_contains({field.data(), field.size()});
    return found && found->is_string() ? std::string(found->as_string().c_str()) : std::string();
  }
  std::string code() const { return text("code"); }
};

inline std::ostream& operator<<(std::ostream& out, const ApiAnswer& answer) {
  return out << answer.status << ' ' << answer.body;
}

struct ApiWorld {
  FakeKeyService keys;
  FakeLifecycle lifecycle;
  FakeRotation rotation;
  FakeMigration migration;
  FakeEvidence evidence;
  FakeArchive archive;
  FakeStream stream;
  FakeMonitor monitor;
  FakeDoctor doctor;
  Metrics metrics{"local"};
  AdminAuthorizer authorizer;
  RecordingAudit audit;
  FakeClock clock;
  CountingExecutor heavy;
  KeptSpans spans;
  Tracer tracer{clock, *Sampler::parse("parentbased_always_off", 1), spans};
  std::unique_ptr<Router> router;

  explicit ApiWorld(ApiSettings settings = {}) { rebuild(std::move(settings)); }

  void rebuild(ApiSettings settings) {
    settings.admin_token = SecretBytes::copy_of(as_bytes(test_token));
    settings.admin_token_place = "the file data/admin-token";
    settings.version = "1.2.3";
    router = std::make_unique<Router>(ApiParts{.keys = keys,
                                               .lifecycle = lifecycle,
                                               .rotation = rotation,
                                               .migration = migration,
                                               .evidence = evidence,
                                               .archive = archive,
                                               .stream = stream,
                                               .monitor = monitor,
                                               .doctor = doctor,
                                               .metrics = metrics,
                                               .authorizer = authorizer,
                                               .audit = audit,
                                               .clock = clock,
                                               .heavy = heavy,
                                               .settings = std::move(settings),
                                               .tracer = tracer});
  }

  std::shared_ptr<FakeConnection> begin(FakeConnection::Sent sent) {
    auto connection = std::make_shared<FakeConnection>(std::move(sent), clock.steady_now());
    router->handle(Reply(connection));
    return connection;
  }
  static ApiAnswer answer_of(const FakeConnection& connection) {
    const auto& response = connection.response();
    if (!response) {
      ADD_FAILURE() << "not answered";
      return {};
    }
    return {.status = response->status,
            .type = std::string(response->content_type),
            .body = std::string(response->body),
            .headers = response->headers};
  }
  ApiAnswer raw(FakeConnection::Sent sent) { return answer_of(*begin(std::move(sent))); }

  // As the administrator.
  ApiAnswer call(std::string method, std::string target, std::string body = {},
                 Headers headers = {}) {
    headers.emplace_back("Authorization", "Bearer " + std::string(test_token));
    return raw({.method = std::move(method),
                .target = std::move(target),
                .headers = std::move(headers),
                .body = std::move(body)});
  }
  ApiAnswer post(std::string target, std::string body) {
    return call("POST", std::move(target), std::move(body));
  }
  ApiAnswer get(std::string target) { return call("GET", std::move(target)); }
};

}  // namespace betrace::kms
