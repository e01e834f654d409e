#include "core/validation.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/try.h"
#include "core/key_cache.h"
#include "core/provider_calls.h"

namespace betrace::kms {

bool ValidationReport::passed() const {
  return std::ranges::none_of(tests, [](const auto& test) { return test.failure.has_value(); });
}

namespace {

constexpr std::chrono::milliseconds slow_call{100};

struct Validation {
  const CallContext& call;
  const Clock& clock;
  ProviderCalls calls;
  ValidationReport report = {};

  template <class Test>
  void run(std::string_view name, Test test) {
    const auto begun = clock.steady_now();
    Status status = test();
    ValidationTest result{.name = std::string(name)};
    result.latency =
        std::chrono::duration_cast<std::chrono::microseconds>(clock.steady_now() - begun);
    if (!status) result.failure = std::move(status).error();
    report.tests.push_back(std::move(result));
  }

  Status describe() {
    TRY(calls.describe());
    const auto& key = *calls.key();
    if (key.usable) return {};
    return fail(ErrorCode::kms_key_disabled,
                fmt::format("{} is in state {}", key.key_id, key.state));
  }

  void retrieve() {
    struct Opened {};
    KeyCache<Opened> cache({}, clock, [&](const CallContext&, const CacheKey&, auto done) {
      const auto opened = calls.open();
      if (!opened) return done(std::unexpected(opened.error()));
      done(std::make_shared<const Opened>());
    });
    const auto tenant = TenantId::from_store("@validate");
    run("key_retrieval_cache_miss", [&] {
      Status status;
      cache.load(call, tenant, 0, [&](const auto& loaded) {
        if (!loaded) status = std::unexpected(loaded.error());
      });
      return status;
    });
    run("key_retrieval_cache_hit", [&]() -> Status {
      if (cache.find(tenant)) return {};
      return fail(ErrorCode::kms_unavailable, "the key could not be loaded, so it is not cached");
    });
  }
};

// What the provider itself makes of a trouble; empty when it has nothing better to say.
std::string cause_of(const Remedies* remedies, TroubleKind kind, const std::string& operation,
                     const Error& error) {
  if (remedies == nullptr) return {};
  return remedies->advise({.kind = kind, .error = &error, .operations = {operation}}).cause;
}

std::string or_else(std::string text, std::string_view otherwise) {
  return text.empty() ? std::string(otherwise) : text;
}

std::string recommendation(const std::string& test, const Error& error, const Remedies* remedies) {
  // A key is retrieved by decrypting it.
  const std::string operation = test.starts_with("key_retrieval") ? "decrypt" : test;
  const auto cause = [&](TroubleKind kind) { return cause_of(remedies, kind, operation, error); };
  switch (error.code) {
    case ErrorCode::kms_access_denied:
      return fmt::format(
          "{}: {}{} (manual, Issue 1)", test,
          or_else(cause(TroubleKind::access_denied), "the master key's owner refuses the service"),
          remedies ? fmt::format("; it needs {}", remedies->permission(operation)) : std::string());
    case ErrorCode::kms_key_disabled:
      return fmt::format(
          "{}: {} (manual, Issue 2)", test,
          or_else(cause(TroubleKind::key_disabled),
                  "enable the master key; if it is pending deletion, cancel the deletion first"));
    case ErrorCode::kms_timeout:
    case ErrorCode::kms_unavailable:
      if (error.throttled) {
        return fmt::format(
            "{}: the KMS throttles; ask for a higher quota, or ask it less: a larger cache, a "
            "longer TTL (manual, Issue 9)",
            test);
      }
      return fmt::format("{}: {} (manual, Issue 2)", test,
                         or_else(cause(TroubleKind::unreachable),
                                 "check the network path and the endpoint of the KMS"));
    case ErrorCode::invalid_ciphertext:
      return fmt::format("{}: encryption contexts must match exactly (manual, Issue 8)", test);
    default:
      return fmt::format("{}: {}", test, error.message);
  }
}

}  // namespace

ValidationReport run_validation(const CallContext& call, Provider& provider, const Clock& clock,
                                std::chrono::milliseconds call_timeout) {
  Validation validation{call, clock,
                        ProviderCalls(provider, clock, call, call_timeout,
                                      {{"keyType", "signing"}, {"tenantId", "@validate"}})};
  validation.run("generate_data_key", [&] { return validation.calls.generate(); });
  validation.run("encrypt", [&] { return validation.calls.encrypt(); });
  validation.run("decrypt", [&] { return validation.calls.open(); });
  validation.run("describe_key", [&] { return validation.describe(); });
  validation.retrieve();
  auto report = std::move(validation.report);
  report.provider = provider.name();
  for (const auto& test : report.tests) {
    if (test.failure) {
      report.recommendations.push_back(
          recommendation(test.name, *test.failure, provider.remedies()));
    } else if (test.latency > slow_call) {
      report.recommendations.push_back(fmt::format(
          "{} took {} ms: use a master key in the same region, and a VPC endpoint (manual, Issue "
          "4)",
          test.name, std::chrono::duration_cast<std::chrono::milliseconds>(test.latency).count()));
    }
  }
  if (provider.name() == "local") {
    report.recommendations.emplace_back(
        "The local provider is not for production: set betrace.kms.provider (manual, Issue 3)");
  }
  return report;
}

}  // namespace betrace::kms
