#include "core/key_opener.h"

#include <algorithm>
#include <iterator>
#include <span>

#include "base/crypto.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

std::string named(const KeyRecord& record) {
  return std::string(to_string(record.type)) + " key " + record.id.str() + " of tenant " +
         record.tenant.str();
}

Status check_distinct(const MasterKey& one, const MasterKey& other) {
  if (one != other) return {};
  return fail(ErrorCode::invalid_argument,
              "betrace.kms.second-provider leads to the same master key as betrace.kms.provider, " +
                  one.master_key_id + "; another one is accepted");
}

// Two servers may have a key of one name: what is wrapped by the one that is left would pass for
// moved, and be lost with it.
Status check_is_left(const CallContext& call, Provider& left,
                     const std::vector<MasterKey>& targets) {
  const auto info = left.describe_key(call);
  // One that is down opens nothing either, and each row says so.
  if (!info) return {};
  const MasterKey key{.provider = std::string(left.name()), .master_key_id = info->key_id};
  if (std::ranges::find(targets, key) == targets.end()) return {};
  return fail(ErrorCode::invalid_argument,
              "betrace.kms.previous-provider leads to the same master key as new keys, " +
                  key.master_key_id +
                  ", so that nothing would move; accepted is another master key, or another name "
                  "where two servers have a key of one name");
}

}  // namespace

KeyOpener::KeyOpener(ProviderPair current, std::vector<ProviderPair> others,
                     std::optional<ProviderPair> second)
    : instances_{current} {
  if (second) {
    instances_.push_back(*second);
    wrapping_ = 2;
  }
  std::ranges::move(others, std::back_inserter(instances_));
}

KeyOpener::KeyOpener(KeyOpener&& other) noexcept
    : instances_(std::move(other.instances_)), wrapping_(other.wrapping_) {}

KeyOpener& KeyOpener::operator=(KeyOpener&& other) noexcept {
  instances_ = std::move(other.instances_);
  wrapping_ = other.wrapping_;
  openers_.clear();
  return *this;
}

bool KeyOpener::knows(std::string_view provider) const {
  return std::ranges::any_of(
      instances_, [&](const ProviderPair& each) { return each.signing->name() == provider; });
}

// The instances of the provider's name, the one that has opened such a key before first.
std::vector<std::size_t> KeyOpener::candidates(const Wrapping& wrapping) const {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < instances_.size(); ++i) {
    if (instances_[i].signing->name() == wrapping.provider) all.push_back(i);
  }
  if (all.size() < 2) return all;
  const std::lock_guard lock(mutex_);
  const auto known = openers_.find(wrapping.master_key());
  if (known != openers_.end()) {
    std::ranges::stable_partition(all, [&](std::size_t i) { return i == known->second; });
  }
  return all;
}

bool KeyOpener::is_remote(const KeyRecord& record) const {
  return std::ranges::any_of(record.wrappings, [&](const Wrapping& wrapping) {
    return std::ranges::any_of(instances_, [&](const ProviderPair& each) {
      return each.signing->name() == wrapping.provider && each.of(record.type).remote();
    });
  });
}

Result<SecretBytes> KeyOpener::unwrap(const CallContext& call, const KeyRecord& record,
                                      const Wrapping& wrapping,
                                      const std::vector<std::size_t>& tried) {
  std::optional<Error> first;
  for (const auto i : tried) {
    auto secret = instances_[i]
                      .of(record.type)
                      .decrypt(call, wrapping, key_context(record.tenant, record.type));
    if (secret) {
      if (tried.size() > 1) {
        const std::lock_guard lock(mutex_);
        openers_[wrapping.master_key()] = i;
      }
      return secret;
    }
    if (!first) first = std::move(secret).error();
  }
  return std::unexpected(*std::move(first));
}

// Of a key that is wrapped twice, by the instance first that is configured first; what the other
// one says matters only when that one fails.
Result<SecretBytes> KeyOpener::unwrap(const CallContext& call, const KeyRecord& record) {
  struct Way {
    const Wrapping* wrapping;
    std::vector<std::size_t> tried;
  };
  std::vector<Way> ways;
  std::string wrapped_by;
  for (const auto& wrapping : record.wrappings) {
    auto tried = candidates(wrapping);
    if (!tried.empty()) ways.push_back({&wrapping, std::move(tried)});
    wrapped_by += (wrapped_by.empty() ? "" : ", ") + wrapping.provider;
  }
  std::ranges::stable_sort(ways, {}, [](const Way& way) { return way.tried.front(); });
  std::optional<Error> first;
  for (const auto& [wrapping, tried] : ways) {
    auto secret = unwrap(call, record, *wrapping, tried);
    if (secret) return secret;
    if (!first) first = std::move(secret).error();
  }
  if (first) return std::unexpected(*std::move(first));
  if (wrapped_by.empty()) {
    return fail(ErrorCode::corrupt, named(record) + " has no wrapped form in the store");
  }
  return fail(ErrorCode::wrapped_elsewhere, named(record) + " is wrapped by '" + wrapped_by +
                                                "', and the configured provider is '" +
                                                std::string(instances_.front().signing->name()) +
                                                "'");
}

Result<Wrapping> KeyOpener::wrap(const CallContext& call, std::size_t instance,
                                 const SecretBytes& secret, const EncryptionContext& context,
                                 KeyType type) {
  auto wrapped = instances_[instance].of(type).encrypt(call, secret.expose(), context);
  if (!wrapped && instance > 0) {
    wrapped.error().message = "by the second provider: " + wrapped.error().message;
  }
  return wrapped;
}

Result<std::vector<MasterKey>> KeyOpener::targets(const CallContext& call) {
  const auto context = key_context(TenantId::service(), KeyType::encryption);
  const auto sample = TRY(instances_.front().encryption->generate_data_key(call, context));
  std::vector<MasterKey> all{sample.wrapped.master_key()};
  if (wrapping_ == 2) {
    all.push_back(TRY(wrap(call, 1, sample.plaintext, context, KeyType::encryption)).master_key());
    TRY(check_distinct(all[0], all[1]));
  }
  for (const auto& left : std::span(instances_).subspan(wrapping_)) {
    const auto wraps_alike = [&](const MasterKey& each) {
      return each.provider == left.encryption->name();
    };
    if (std::ranges::any_of(all, wraps_alike)) TRY(check_is_left(call, *left.encryption, all));
  }
  return all;
}

Result<std::vector<Wrapping>> KeyOpener::rewrap(const CallContext& call, const KeyRecord& record,
                                                std::span<const MasterKey> targets) {
  const auto secret = TRY(unwrap(call, record));
  const auto context = key_context(record.tenant, record.type);
  std::vector<Wrapping> made;
  for (std::size_t i = 0; i < std::min(wrapping_, targets.size()); ++i) {
    if (std::ranges::find(record.wrappings, targets[i], &Wrapping::master_key) !=
        record.wrappings.end()) {
      continue;
    }
    auto wrapped = TRY(wrap(call, i, secret, context, record.type));
    const auto opened = TRY(instances_[i].of(record.type).decrypt(call, wrapped, context));
    if (opened != secret) {
      return fail(ErrorCode::corrupt,
                  named(record) + " came back changed from the provider that wrapped it anew");
    }
    made.push_back(std::move(wrapped));
  }
  return made;
}

Result<std::shared_ptr<const SigningKey>> KeyOpener::open_signing(const CallContext& call,
                                                                  const KeyRecord& record) {
  auto seed = unwrap(call, record);
  if (!seed && seed.error().code == ErrorCode::invalid_ciphertext) {
    return fail(ErrorCode::corrupt,
                named(record) + " cannot be unwrapped: " + seed.error().message);
  }
  if (!seed) return std::unexpected(std::move(seed).error());
  if (seed->size() != 32) {
    return fail(ErrorCode::corrupt, named(record) + " has a seed of the wrong size");
  }
  auto key = std::make_shared<SigningKey>();
  key->id = record.id;
  key->version = record.version;
  key->secret = ed25519_key_from_seed(*seed);
  // A signature under a public key that is not the seed's own would give the seed away.
  if (!std::ranges::equal(ed25519_public_half(key->secret), record.public_key)) {
    return fail(ErrorCode::corrupt,
                named(record) + " does not belong to the public key that is stored with it");
  }
  return key;
}

Result<std::shared_ptr<const EncryptionKey>> KeyOpener::open_encryption(
    const CallContext& call, const KeyRecord& record, std::shared_ptr<NonceBudget> budget) {
  auto secret = unwrap(call, record);
  if (!secret && secret.error().code == ErrorCode::invalid_ciphertext) {
    return fail(ErrorCode::corrupt,
                named(record) + " cannot be unwrapped: " + secret.error().message);
  }
  if (!secret) return std::unexpected(std::move(secret).error());
  if (secret->size() != aes_key_bytes) {
    return fail(ErrorCode::corrupt, named(record) + " has a secret of the wrong size");
  }
  auto key = std::make_shared<EncryptionKey>();
  key->id = record.id;
  key->version = record.version;
  key->state = record.state;
  key->secret = *std::move(secret);
  key->budget = std::move(budget);
  return key;
}

Result<KeyOpener::NewKey> KeyOpener::make(const CallContext& call, const TenantId& tenant,
                                          KeyType type, std::uint32_t version, SystemTime now) {
  const auto context = key_context(tenant, type);
  auto data_key = instances_.front().of(type).generate_data_key(call, context);
  if (!data_key) return std::unexpected(std::move(data_key).error());
  const auto bytes = data_key->plaintext.expose();
  if (bytes.size() != 32 || std::ranges::all_of(bytes, [](auto byte) { return byte == 0; })) {
    return fail(ErrorCode::kms_unavailable,
                "the KMS provider answered a data key that is not 32 "
                "random bytes");
  }
  NewKey made{.record = {.id = KeyId::generate(now),
                         .tenant = tenant,
                         .type = type,
                         .version = version,
                         .state = KeyState::active,
                         .created_at = now}};
  made.record.wrappings.push_back(std::move(data_key->wrapped));
  // Both or none: a key that one master key alone can open is what the second is there to prevent.
  if (wrapping_ == 2) {
    made.record.wrappings.push_back(TRY(wrap(call, 1, data_key->plaintext, context, type)));
    TRY(check_distinct(made.record.wrappings[0].master_key(),
                       made.record.wrappings[1].master_key()));
  }
  if (type == KeyType::signing) {
    const auto key = ed25519_key_from_seed(data_key->plaintext);
    const auto half = ed25519_public_half(key);
    made.record.public_key.assign(half.begin(), half.end());
  }
  made.secret = std::move(data_key->plaintext);
  return made;
}

}  // namespace betrace::kms
