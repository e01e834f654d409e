// Encrypting, decrypting, and moving ciphertext to the active version.
#include <algorithm>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"
#include "core/key_service_impl.h"
#include "core/retrieval_span.h"
#include "core/run_on.h"
#include "core/sealing.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

std::vector<Result<Bytes>> seal_all(const EncryptionKey& key, const TenantId& tenant,
                                    const EncryptionContext& context,
                                    std::span<const ByteView> plaintexts) {
  const auto aad = additional_data(tenant, key.version, context);
  std::vector<Result<Bytes>> results;
  results.reserve(plaintexts.size());
  for (const auto plaintext : plaintexts) results.emplace_back(seal(key, aad, plaintext));
  return results;
}

std::unexpected<Error> changes_too_fast() {
  return fail(ErrorCode::overloaded, "keys change faster than they can be used; try again");
}

// Errors that belong to one ciphertext of a batch.
bool is_of_one_item(ErrorCode code) {
  return code == ErrorCode::key_not_found || code == ErrorCode::destroyed;
}

}  // namespace

// Finds the active key, pays for `uses` encryptions, and calls `use(key)`.
template <class T, class Use>
void KeyServiceImpl::with_encryption_key(const CallContext& call, const TenantId& tenant,
                                         std::uint64_t uses, Done<T> done, Use use,
                                         int attempts_left) {
  const auto begun = evictions_.load();
  // `key` is paid for.
  auto finish = [this, call, tenant, uses, use, begun, attempts_left](const EncryptionKey& key,
                                                                      Done<T> done) {
    auto made = use(key);
    const auto outcome = outcome_since(begun);
    if (outcome == Outcome::good) return done(std::move(made));
    if (outcome == Outcome::cut_off) return done(cut_off());
    if (attempts_left == 0) return done(changes_too_fast());
    with_encryption_key<T>(call, tenant, uses, std::move(done), use, attempts_left - 1);
  };
  auto pay = [this, call, tenant, uses, finish](FoundEncryptionKey key, Done<T> done) {
    if (key->budget->take(uses)) return finish(*key, std::move(done));
    auto shared = std::make_shared<Done<T>>(std::move(done));
    const bool posted = parts_.store_threads.post([this, call, tenant, uses, finish, key, shared] {
      bool wants_rotation = false;
      const auto status = key->budget->take_blocking(call, parts_.store, key->id, options_.nonces,
                                                     uses, wants_rotation);
      if (wants_rotation) rotate_spent_key(tenant);
      if (!status) return (*shared)(std::unexpected(status.error()));
      finish(*key, std::move(*shared));
    });
    if (!posted) (*shared)(fail(ErrorCode::overloaded, "too much work waits for the store"));
  };
  load_cached(encryption_keys_, call, tenant, 0,
              [pay, done = std::move(done)](Result<FoundEncryptionKey> key) mutable {
                if (!key) return done(std::unexpected(std::move(key).error()));
                pay(*std::move(key), std::move(done));
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
  const auto begun = evictions_.load();
  if (const auto key = find_cached(encryption_keys_, call, tenant);
      key && key->budget->take(uses)) {
    auto sealed = seal_all(*key, tenant, context, plaintexts);
    if (outcome_since(begun) == Outcome::good) return done(std::move(sealed));
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
  auto use = [tenant, &context](const EncryptionKey& key) {
    SealedDataKey made{.plaintext = SecretBytes::random(aes_key_bytes)};
    made.ciphertext =
        seal(key, additional_data(tenant, key.version, context), made.plaintext.expose());
    return made;
  };
  parts_.metrics.encryptions.Increment();
  const auto begun = evictions_.load();
  if (const auto key = find_cached(encryption_keys_, call, tenant); key && key->budget->take(1)) {
    auto made = use(*key);
    if (outcome_since(begun) == Outcome::good) return done(std::move(made));
  }
  with_encryption_key<SealedDataKey>(call, tenant, 1, std::move(done), use);
}

// One call of decrypt: the keys its ciphertexts name are fetched one after another, then all of
// them are opened.
struct KeyServiceImpl::Decryption {
  CallContext call;
  TenantId tenant;
  std::span<const ByteView> ciphertexts;
  const DecryptOptions options;
  Done<std::vector<Result<WipedBytes>>> done;
  std::uint64_t begun = 0;
  int attempts_left = 3;
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
    if ((*found)->state == KeyState::revoked && !options.allow_revoked) {
      return fail(ErrorCode::permission_denied,
                  "the ciphertext is of version " + std::to_string(version) +
                      " of the encryption key, which was revoked; allow_revoked=true opens it");
    }
    return unseal(**found, additional_data(tenant, version, options.context), ciphertext);
  }
};

void KeyServiceImpl::decrypt(CallContext call, const TenantId& tenant,
                             std::span<const ByteView> ciphertexts, const DecryptOptions& options,
                             Done<std::vector<Result<WipedBytes>>> done) {
  if (auto checked = check_context(options.context); !checked) {
    return done(std::unexpected(std::move(checked).error()));
  }
  decrypt_next(std::make_shared<Decryption>(Decryption{
      std::move(call), tenant, ciphertexts, options, std::move(done), evictions_.load()}));
}

void KeyServiceImpl::decrypt_next(std::shared_ptr<Decryption> job) {
  while (const auto version = job->missing()) {
    // Most ciphertexts are of the active version, which is cached under 0.
    auto key = find_cached(encryption_keys_, job->call, job->tenant);
    if (!key || key->version != *version)
      key = find_cached(encryption_keys_, job->call, job->tenant, *version);
    if (key) {
      job->keys.emplace_back(*version, std::move(key.value));
      continue;
    }
    load_cached(encryption_keys_, job->call, job->tenant, *version,
                [this, job, version = *version](Result<FoundEncryptionKey> loaded) {
                  if (loaded) {
                    job->keys.emplace_back(version, std::move(loaded->value));
                  } else if (is_of_one_item(loaded.error().code)) {
                    job->keys.emplace_back(version, std::unexpected(std::move(loaded).error()));
                  } else {
                    return job->done(std::unexpected(std::move(loaded).error()));
                  }
                  decrypt_next(job);
                });
    return;
  }
  std::vector<Result<WipedBytes>> results;
  results.reserve(job->ciphertexts.size());
  for (const auto ciphertext : job->ciphertexts) results.push_back(job->open(ciphertext));
  const auto outcome = outcome_since(job->begun);
  if (outcome == Outcome::cut_off) return job->done(cut_off());
  if (outcome == Outcome::overtaken) {
    if (job->attempts_left-- == 0) return job->done(changes_too_fast());
    job->keys.clear();
    job->begun = evictions_.load();
    return decrypt_next(job);
  }
  for (const auto& result : results) {
    (result ? parts_.metrics.decryptions_success : parts_.metrics.decryptions_failure).Increment();
    if (!result) say_refused_ciphertext(job->tenant, result.error());
  }
  job->done(std::move(results));
}

// Users grep the sentence. It is a caller's mistake, which may come at any rate: once a second.
void KeyServiceImpl::say_refused_ciphertext(const TenantId& tenant, const Error& error) {
  if (error.code != ErrorCode::invalid_ciphertext) return;
  const auto now = parts_.clock.steady_now().time_since_epoch();
  auto next = next_refusal_line_.load();
  const auto second = std::chrono::steady_clock::duration(std::chrono::seconds(1));
  if (now.count() < next ||
      !next_refusal_line_.compare_exchange_strong(next, (now + second).count())) {
    return;
  }
  logger(log_category::kms)
      .warn("KmsException: {} (operation=decrypt, tenant={})", error.message, tenant.str());
}

void KeyServiceImpl::rewrap(CallContext call, const TenantId& tenant,
                            std::span<const ByteView> ciphertexts, const DecryptOptions& options,
                            Done<std::vector<Result<Bytes>>> done) {
  struct Job {
    std::vector<Result<WipedBytes>> opened;
    std::vector<ByteView> plaintexts;
    Done<std::vector<Result<Bytes>>> done;
  };
  auto job = std::make_shared<Job>();
  job->done = std::move(done);
  auto encrypt_all = [this, job, call, tenant, &context = options.context] {
    for (const auto& each : job->opened) {
      if (each) job->plaintexts.emplace_back(*each);
    }
    encrypt(call, tenant, job->plaintexts, context,
            [job](Result<std::vector<Result<Bytes>>> sealed) {
              if (!sealed) return job->done(std::unexpected(std::move(sealed).error()));
              std::vector<Result<Bytes>> results;
              for (auto next = sealed->begin(); auto& each : job->opened) {
                if (each) {
                  results.push_back(std::move(*next));
                  ++next;
                } else {
                  results.emplace_back(std::unexpected(std::move(each).error()));
                }
              }
              job->done(std::move(results));
            });
  };
  decrypt(call, tenant, ciphertexts, options,
          [job, encrypt_all](Result<std::vector<Result<WipedBytes>>> opened) {
            if (!opened) return job->done(std::unexpected(std::move(opened).error()));
            job->opened = *std::move(opened);
            encrypt_all();
          });
}

namespace {

constexpr std::string_view probe_text = "probe";

}  // namespace

Result<Bytes> KeyServiceImpl::seal_probe(const CallContext& call, const TenantId& tenant) {
  const auto record = TRY(parts_.store.find_active_key(call, tenant, KeyType::encryption));
  const auto key = TRY(parts_.opener.open_encryption(call, record, nullptr));
  return seal(*key, additional_data(tenant, key->version, {}), as_bytes(probe_text));
}

Status KeyServiceImpl::open_probe(const CallContext& call, const TenantId& tenant,
                                  ByteView ciphertext) {
  const auto version = TRY(sealed_version(ciphertext));
  const auto record = TRY(parts_.store.find_key(call, tenant, KeyType::encryption, version));
  const auto key = TRY(parts_.opener.open_encryption(call, record, nullptr));
  TRY(unseal(*key, additional_data(tenant, version, {}), ciphertext));
  return {};
}

}  // namespace betrace::kms
