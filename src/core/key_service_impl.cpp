// The verbs that use keys: sign, verify, encrypt, decrypt.
#include "core/key_service_impl.h"

#include <algorithm>

#include "base/crypto.h"
#include "base/try.h"
#include "core/run_on.h"
#include "core/sealing.h"

namespace betrace::kms {
namespace {

constexpr std::size_t versions_tried_max = 10;

Result<Signature> refuse_reserved() {
  return fail(ErrorCode::reserved_payload,
              "the payload is a DSSE pre-authentication encoding of a type that begins with "
              "application/vnd.betrace., which only the service itself signs");
}

std::vector<Result<Signature>> sign_all(const SigningKey& key, std::span<const ByteView> payloads) {
  std::vector<Result<Signature>> results;
  results.reserve(payloads.size());
  for (const auto payload : payloads) {
    if (is_own_assertion(payload)) {
      results.push_back(refuse_reserved());
      continue;
    }
    SignJob job{.key = &key.secret, .payload = payload};
    sodium_signer().sign({&job, 1});
    results.push_back(Signature{.key_id = key.id, .version = key.version, .bytes = job.signature});
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
    if (verification.valid) return verification;
    if (!first) first = verification;
    if (++tried == versions_tried_max) break;
  }
  if (!first) return fail(ErrorCode::key_not_found, "the tenant has no such signing key");
  return *first;
}

std::vector<Result<Bytes>> seal_all(const EncryptionKey& key, const TenantId& tenant,
                                    const EncryptionContext& context,
                                    std::span<const ByteView> plaintexts) {
  const auto aad = additional_data(tenant, key.version, context);
  std::vector<Result<Bytes>> results;
  results.reserve(plaintexts.size());
  for (const auto plaintext : plaintexts) results.emplace_back(seal(key, aad, plaintext));
  return results;
}

}  // namespace

void KeyServiceImpl::sign(CallContext call, const TenantId& tenant,
                          std::span<const ByteView> payloads,
                          Done<std::vector<Result<Signature>>> done) {
  auto use = [this, payloads](const SigningKey& key) {
    auto results = sign_all(key, payloads);
    parts_.metrics.signatures.Increment(
        static_cast<double>(std::ranges::count_if(results, &Result<Signature>::has_value)));
    return results;
  };
  if (const auto key = private_keys_.find(tenant)) {
    done(use(*key));
    return;
  }
  private_keys_.load(call, tenant, 0,
                     [use, done = std::move(done)](Result<SigningKeyPointer> key) mutable {
                       if (!key) return done(std::unexpected(std::move(key).error()));
                       done(use(**key));
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
  if (const auto keys = public_keys_.find(tenant)) {
    done(use(*keys));
    return;
  }
  public_keys_.load(call, tenant, 0,
                    [use, done = std::move(done)](Result<PublicKeysPointer> keys) mutable {
                      if (!keys) return done(std::unexpected(std::move(keys).error()));
                      done(use(**keys));
                    });
}

// Finds the active key, pays for `uses` encryptions, and calls `use(key)`.
template <class T, class Use>
void KeyServiceImpl::with_encryption_key(const CallContext& call, const TenantId& tenant,
                                         std::uint64_t uses, Done<T> done, Use use) {
  auto paid = [this, call, tenant, uses, use](const EncryptionKeyPointer& key, Done<T> done) {
    if (key->budget->take(uses)) return done(use(*key));
    run_on<T>(parts_.store_threads, std::move(done),
              [this, call, tenant, uses, use, key]() -> Result<T> {
                bool wants_rotation = false;
                const auto status = key->budget->take_blocking(
                    call, parts_.store, key->id, options_.nonces, uses, wants_rotation);
                if (wants_rotation) rotate_spent_key(tenant);
                if (!status) return std::unexpected(status.error());
                return use(*key);
              });
  };
  encryption_keys_.load(call, tenant, 0,
                        [paid, done = std::move(done)](Result<EncryptionKeyPointer> key) mutable {
                          if (!key) return done(std::unexpected(std::move(key).error()));
                          paid(*key, std::move(done));
                        });
}

void KeyServiceImpl::encrypt(CallContext call, const TenantId& tenant,
                             std::span<const ByteView> plaintexts, const EncryptionContext& context,
                             Done<std::vector<Result<Bytes>>> done) {
  if (auto checked = check_context(context); !checked) {
    return done(std::unexpected(std::move(checked).error()));
  }
  const auto uses = plaintexts.size();
  parts_.metrics.encryptions.Increment(static_cast<double>(uses));
  if (const auto key = encryption_keys_.find(tenant); key && key->budget->take(uses)) {
    return done(seal_all(*key, tenant, context, plaintexts));
  }
  with_encryption_key<std::vector<Result<Bytes>>>(
      call, tenant, uses, std::move(done), [tenant, plaintexts, &context](const auto& key) {
        return seal_all(key, tenant, context, plaintexts);
      });
}

void KeyServiceImpl::data_key(CallContext call, const TenantId& tenant,
                              const EncryptionContext& context, Done<SealedDataKey> done) {
  if (auto checked = check_context(context); !checked) {
    return done(std::unexpected(std::move(checked).error()));
  }
  auto use = [this, tenant, &context](const EncryptionKey& key) {
    SealedDataKey made{.plaintext = SecretBytes::random(aes_key_bytes)};
    made.ciphertext =
        seal(key, additional_data(tenant, key.version, context), made.plaintext.expose());
    parts_.metrics.encryptions.Increment();
    return made;
  };
  if (const auto key = encryption_keys_.find(tenant); key && key->budget->take(1)) {
    return done(use(*key));
  }
  with_encryption_key<SealedDataKey>(call, tenant, 1, std::move(done), use);
}

// One call of decrypt: the keys its ciphertexts name are fetched one after another, then all of
// them are opened.
struct KeyServiceImpl::Decryption {
  CallContext call;
  TenantId tenant;
  std::span<const ByteView> ciphertexts;
  const EncryptionContext& context;
  Done<std::vector<Result<WipedBytes>>> done;
  std::vector<std::pair<std::uint32_t, Result<EncryptionKeyPointer>>> keys = {};

  const Result<EncryptionKeyPointer>* key(std::uint32_t version) const {
    const auto found =
        std::ranges::find(keys, version, [](const auto& item) { return item.first; });
    return found == keys.end() ? nullptr : &found->second;
  }

  // The first version that is named and not fetched yet.
  std::optional<std::uint32_t> missing() const {
    for (const auto ciphertext : ciphertexts) {
      const auto version = sealed_version(ciphertext);
      if (version && key(*version) == nullptr) return *version;
    }
    return std::nullopt;
  }

  Result<WipedBytes> open(ByteView ciphertext) const {
    const auto version = TRY(sealed_version(ciphertext));
    const auto& found = *key(version);
    if (!found) return std::unexpected(found.error());
    return unseal(**found, additional_data(tenant, version, context), ciphertext);
  }
};

void KeyServiceImpl::decrypt(CallContext call, const TenantId& tenant,
                             std::span<const ByteView> ciphertexts,
                             const EncryptionContext& context,
                             Done<std::vector<Result<WipedBytes>>> done) {
  if (auto checked = check_context(context); !checked) {
    return done(std::unexpected(std::move(checked).error()));
  }
  decrypt_next(std::make_shared<Decryption>(
      Decryption{std::move(call), tenant, ciphertexts, context, std::move(done)}));
}

void KeyServiceImpl::decrypt_next(std::shared_ptr<Decryption> job) {
  while (const auto version = job->missing()) {
    // Most ciphertexts are of the active version, which is cached under 0.
    auto key = encryption_keys_.find(job->tenant);
    if (!key || key->version != *version) key = encryption_keys_.find(job->tenant, *version);
    if (key) {
      job->keys.emplace_back(*version, std::move(key));
      continue;
    }
    encryption_keys_.load(job->call, job->tenant, *version,
                          [this, job, version = *version](Result<EncryptionKeyPointer> loaded) {
                            const bool item_error =
                                loaded || loaded.error().code == ErrorCode::key_not_found;
                            if (!item_error)
                              return job->done(std::unexpected(std::move(loaded).error()));
                            job->keys.emplace_back(version, std::move(loaded));
                            decrypt_next(job);
                          });
    return;
  }
  std::vector<Result<WipedBytes>> results;
  results.reserve(job->ciphertexts.size());
  for (const auto ciphertext : job->ciphertexts) {
    results.push_back(job->open(ciphertext));
    (results.back() ? parts_.metrics.decryptions_success : parts_.metrics.decryptions_failure)
        .Increment();
  }
  job->done(std::move(results));
}

}  // namespace betrace::kms
