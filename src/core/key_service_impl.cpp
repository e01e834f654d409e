// Signing and verifying.
#include "core/key_service_impl.h"

#include <algorithm>

#include "base/crypto.h"
#include "base/try.h"
#include "core/retrieval_span.h"

namespace betrace::kms {
namespace {

constexpr std::size_t versions_tried_max = 10;

Result<Signature> refuse_reserved() {
  return fail(ErrorCode::reserved_payload,
              "the payload is a DSSE pre-authentication encoding of a type that begins with "
              "application/vnd.betrace., which only the service itself signs");
}

std::vector<Result<Signature>> sign_all(const SigningKey& key, bool stale,
                                        std::span<const ByteView> payloads) {
  std::vector<Result<Signature>> results;
  results.reserve(payloads.size());
  for (const auto payload : payloads) {
    if (is_own_assertion(payload)) {
      results.push_back(refuse_reserved());
      continue;
    }
    SignJob job{.key = &key.secret, .payload = payload};
    sodium_signer().sign({&job, 1});
    results.push_back(Signature{
        .key_id = key.id, .version = key.version, .bytes = job.signature, .stale = stale});
  }
  return results;
}

std::vector<Result<Signature>> sign_statements_by(const SigningKey& key, bool stale,
                                                  std::size_t count,
                                                  const StatementSigner::Statement& statement) {
  std::vector<Result<Signature>> results;
  results.reserve(count);
  WipedBytes bytes;
  for (std::size_t i = 0; i < count; ++i) {
    statement(i, key.id, bytes);
    SignJob job{.key = &key.secret, .payload = bytes};
    sodium_signer().sign({&job, 1});
    results.push_back(Signature{
        .key_id = key.id, .version = key.version, .bytes = job.signature, .stale = stale});
  }
  return results;
}

bool verifies(const PublicKey& key, const VerifyRequest& request) {
  VerifyJob job{
      .public_key = key.bytes, .payload = request.payload, .signature = request.signature};
  sodium_signer().verify({&job, 1});
  return job.valid;
}

bool is_wanted(const PublicKey& key, const VerifyRequest& request) {
  return (!request.key_id || *request.key_id == key.id) &&
         (!request.version || *request.version == key.version);
}

Result<Verification> verify_one(const PublicKeySet& set, const VerifyRequest& request) {
  std::optional<Verification> first;
  std::size_t tried = 0;
  for (const auto& [key, attested] : set.members) {
    if (!is_wanted(key, request)) continue;
    if (!attested) {
      return fail(ErrorCode::corrupt, "the record of public key " + key.id.str() +
                                          " does not bear the service key's signature: it was "
                                          "changed in the store");
    }
    Verification verification{.valid = verifies(key, request),
                              .key_id = key.id,
                              .version = key.version,
                              .key_state = key.state};
    if (key.state == KeyState::revoked) {
      verification.revoked_at = key.state_changed_at;
      verification.revocation_reason = key.reason;
    }
    verification.trusted = verification.valid && key.state != KeyState::revoked;
    if (verification.valid) return verification;
    if (!first) first = verification;
    if (++tried == versions_tried_max) break;
  }
  if (!first) return fail(ErrorCode::key_not_found, "the tenant has no such signing key");
  return *first;
}

void count_signatures(Metrics& metrics, const std::vector<Result<Signature>>& results, bool stale) {
  const auto made =
      static_cast<double>(std::ranges::count_if(results, &Result<Signature>::has_value));
  metrics.signatures.Increment(made);
  if (stale) metrics.stale_signatures.Increment(made);
}

}  // namespace

// The order matters: whoever extends the time has evicted before.
auto KeyServiceImpl::outcome_since(std::uint64_t begun) const -> Outcome {
  const auto until = usable_until_.load(std::memory_order_acquire);
  if (evictions_.load() != begun) return Outcome::overtaken;
  const auto now = parts_.clock.coarse_now().time_since_epoch().count();
  return now < until ? Outcome::good : Outcome::cut_off;
}

std::unexpected<Error> KeyServiceImpl::cut_off() {
  return fail(ErrorCode::store_unavailable,
              "this daemon has not reached its store for longer than its lease "
              "(betrace.kms.node-lease-seconds) and cannot know whether keys were revoked");
}

// One call of sign, until its signatures are those of a key that nobody evicted meanwhile.
struct KeyServiceImpl::Signing {
  CallContext call;
  TenantId tenant;
  SignAll sign_all;
  Done<std::vector<Result<Signature>>> done;
  int attempts_left = 4;
};

void KeyServiceImpl::sign(CallContext call, const TenantId& tenant,
                          std::span<const ByteView> payloads,
                          Done<std::vector<Result<Signature>>> done) {
  sign_by(
      std::move(call), tenant,
      [payloads](const SigningKey& key, bool stale) { return sign_all(key, stale, payloads); },
      std::move(done));
}

void KeyServiceImpl::sign_statements(CallContext call, const TenantId& tenant, std::size_t count,
                                     Statement statement,
                                     Done<std::vector<Result<Signature>>> done) {
  sign_by(
      std::move(call), tenant,
      [count, statement = std::move(statement)](const SigningKey& key, bool stale) {
        return sign_statements_by(key, stale, count, statement);
      },
      std::move(done));
}

void KeyServiceImpl::sign_by(CallContext call, const TenantId& tenant, SignAll sign_all,
                             Done<std::vector<Result<Signature>>> done) {
  const auto begun = evictions_.load();
  if (const auto key = find_cached(private_keys_, call, tenant)) {
    auto results = sign_all(*key, key.stale);
    if (outcome_since(begun) == Outcome::good) {
      count_signatures(parts_.metrics, results, key.stale);
      return done(std::move(results));
    }
  }
  sign_with_cached_key(
      std::make_shared<Signing>(std::move(call), tenant, std::move(sign_all), std::move(done)));
}

void KeyServiceImpl::sign_with_cached_key(std::shared_ptr<Signing> job) {
  const auto begun = evictions_.load();
  load_cached(
      private_keys_, job->call, job->tenant, 0, [this, job, begun](Result<FoundSigningKey> key) {
        if (!key) return job->done(std::unexpected(std::move(key).error()));
        auto results = job->sign_all(**key, key->stale);
        const auto outcome = outcome_since(begun);
        if (outcome == Outcome::overtaken && --job->attempts_left > 0)
          return sign_with_cached_key(job);
        if (outcome == Outcome::cut_off) return job->done(cut_off());
        if (outcome == Outcome::overtaken) {
          return job->done(fail(ErrorCode::overloaded, "keys change faster than they can be used"));
        }
        count_signatures(parts_.metrics, results, key->stale);
        job->done(std::move(results));
      });
}

void KeyServiceImpl::verify(CallContext call, const TenantId& tenant,
                            std::span<const VerifyRequest> requests,
                            Done<std::vector<Result<Verification>>> done) {
  auto use = [this, requests](const PublicKeySet& keys) {
    std::vector<Result<Verification>> results;
    results.reserve(requests.size());
    for (const auto& request : requests) {
      results.push_back(verify_one(keys, request));
      const bool valid = results.back() && results.back()->valid;
      (valid ? parts_.metrics.verifications_valid : parts_.metrics.verifications_invalid)
          .Increment();
    }
    return results;
  };
  if (const auto keys = find_cached(public_keys_, call, tenant)) {
    done(use(*keys));
    return;
  }
  load_cached(public_keys_, call, tenant, 0,
              [use, done = std::move(done)](Result<FoundPublicKeys> keys) mutable {
                if (!keys) return done(std::unexpected(std::move(keys).error()));
                done(use(**keys));
              });
}

}  // namespace betrace::kms
