#include "evidence/span_keys.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using Indices = std::vector<std::size_t>;

// What is opened more often than closed is under way; the last one to close answers.
template <class Item, class Outcome>
struct SpanJob {
  CallContext call;
  std::vector<const Item*> spans;
  std::vector<Result<Outcome>> outcomes;
  std::move_only_function<void(std::vector<Result<Outcome>>)> done;
  std::atomic<std::size_t> open = 1;

  SpanJob(CallContext of, std::vector<const Item*> all,
          std::move_only_function<void(std::vector<Result<Outcome>>)> then)
      : call(std::move(of)), spans(std::move(all)), outcomes(spans.size()), done(std::move(then)) {}

  void take(const Indices& which, const Result<std::vector<Result<Outcome>>>& results) {
    for (std::size_t n = 0; n < which.size(); ++n) {
      outcomes[which[n]] =
          results ? (*results)[n] : Result<Outcome>(std::unexpected(results.error()));
    }
    close();
  }
  void close() {
    if (--open == 0) done(std::move(outcomes));
  }
};

Status check_active(const std::vector<PublicKey>& keys, const TenantId& tenant) {
  const auto is_active = [](const PublicKey& key) { return key.state == KeyState::active; };
  if (std::ranges::any_of(keys, is_active)) return {};
  return fail(
      ErrorCode::destroyed,
      fmt::format("tenant {} has no active key: its keys were revoked or destroyed", tenant.str()));
}

}  // namespace

Result<SpanVerdict> verdict_of(const SignedSpan& span, const Result<Verification>& verification) {
  SpanVerdict verdict{.tenant = span.tenant, .timestamp = span.timestamp, .key_id = span.key_text};
  if (!verification) {
    switch (verification.error().code) {
      case ErrorCode::tenant_not_found:
        verdict.message = "Unknown tenant";
        return verdict;
      case ErrorCode::key_not_found:
        verdict.message =
            "Unknown key: the span's tenant has no such signing key, so key or tenant are "
            "another's";
        return verdict;
      default:
        return std::unexpected(verification.error());
    }
  }
  verdict.key_state = verification->key_state;
  if (!verification->valid) {
    verdict.message = "Signature invalid or tampered";
  } else if (!verification->trusted) {
    verdict.message = fmt::format(
        "Key revoked{}, and nothing proves the span older than that",
        verification->revoked_at ? " at " + rfc3339(*verification->revoked_at) : std::string());
  } else {
    verdict.valid = true;
    verdict.message = "Signature valid";
  }
  return verdict;
}

struct SpanKeys::Signing : SpanJob<ComplianceSpan, Signature> {
  using SpanJob::SpanJob;
};
struct SpanKeys::Verifying : SpanJob<SignedSpan, Verification> {
  using SpanJob::SpanJob;
};

void SpanKeys::sign(const CallContext& call, std::vector<const ComplianceSpan*> spans,
                    std::move_only_function<void(Signatures)> done) const {
  const auto job = std::make_shared<Signing>(call, std::move(spans), std::move(done));
  std::map<TenantId, Indices> groups;
  for (std::size_t i = 0; i < job->spans.size(); ++i) {
    groups[job->spans[i]->tenant()].push_back(i);
  }
  job->open += groups.size();
  for (auto& [tenant, which] : groups) {
    sign_tenant(job, tenant, std::make_shared<const Indices>(std::move(which)), true);
  }
  job->close();
}

void SpanKeys::sign_tenant(const std::shared_ptr<Signing>& job, const TenantId& tenant,
                           std::shared_ptr<const Indices> which, bool may_create) const {
  const auto fail_all = [job, which, tenant](const Error& error) {
    logger(log_category::kms)
        .warn("{} of tenant {} not signed: {}", counted(which->size(), "compliance span"),
              tenant.str(), error.message);
    job->take(*which, std::unexpected(error));
  };
  signer_.sign_statements(
      job->call, tenant, which->size(),
      [job, which](std::size_t n, const KeyId& key, WipedBytes& out) {
        job->spans[(*which)[n]]->write_statement(key, out);
      },
      [this, job, which, tenant, may_create, fail_all](Result<Signatures> signatures) {
        if (signatures) return job->take(*which, signatures);
        const bool absent = signatures.error().code == ErrorCode::tenant_not_found;
        if (!absent || !may_create || !create_tenant_) return fail_all(signatures.error());
        create_tenant_(job->call, tenant,
                       [this, job, which, tenant, fail_all](Result<TenantDescription> created) {
                         if (created) return sign_tenant(job, tenant, which, false);
                         fail_all(created.error());
                       });
      });
}

void SpanKeys::find_tenants(const CallContext& call, Tenants tenants,
                            std::move_only_function<void(Tenants)> done) const {
  struct Search {
    Tenants tenants;
    std::move_only_function<void(Tenants)> done;
    std::atomic<std::size_t> open;
    void close() {
      if (--open == 0) done(std::move(tenants));
    }
  };
  const auto search = std::make_shared<Search>(std::move(tenants), std::move(done));
  search->open = search->tenants.size() + 1;
  for (auto& [tenant, status] : search->tenants) {
    const auto take = [search, &status](Status found) {
      status = std::move(found);
      search->close();
    };
    keys_.public_keys(
        call, tenant, [this, call, tenant, take](const Result<std::vector<PublicKey>>& keys) {
          if (keys) return take(check_active(*keys, tenant));
          const bool absent = keys.error().code == ErrorCode::tenant_not_found;
          if (!absent || !create_tenant_) return take(std::unexpected(keys.error()));
          create_tenant_(call, tenant, [take](const Result<TenantDescription>& created) {
            take(created ? Status() : std::unexpected(created.error()));
          });
        });
  }
  search->close();
}

void SpanKeys::verify(const CallContext& call, std::vector<const SignedSpan*> spans,
                      std::move_only_function<void(Verifications)> done) const {
  const auto job = std::make_shared<Verifying>(call, std::move(spans), std::move(done));
  struct Group {
    Indices which;
    std::vector<VerifyRequest> requests;
  };
  std::map<TenantId, std::shared_ptr<Group>> groups;
  for (std::size_t i = 0; i < job->spans.size(); ++i) {
    const auto& span = *job->spans[i];
    auto& group = groups[*span.owner];
    if (!group) group = std::make_shared<Group>();
    group->which.push_back(i);
    group->requests.push_back(
        {.payload = span.statement, .signature = span.signature, .key_id = span.key});
  }
  job->open += groups.size();
  for (const auto& [tenant, group] : groups) {
    keys_.verify(
        job->call, tenant, group->requests,
        [job, group](const Result<Verifications>& verified) { job->take(group->which, verified); });
  }
  job->close();
}

}  // namespace betrace::kms
