#include "providers/vault.h"

#include <atomic>
#include <functional>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/named_blob.h"
#include "providers/vault_blob.h"
#include "providers/vault_client.h"
#include "providers/vault_remedies.h"
#include "providers/vault_settings.h"
#include "providers/vault_tokens.h"
#include "providers/wrap_limits.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t data_key_bytes = 32;

WipedString opening(const EncryptionContext& context) {
  return WipedString(
      fmt::format(R"({{"associated_data":"{}")", base64_encode(as_bytes(canonical_json(context)))));
}

class VaultProvider final : public Provider {
 public:
  VaultProvider(const ProviderEnvironment& environment, VaultSettings settings)
      : settings_(std::move(settings)),
        blob_name_("vault", settings_.master_key_id()),
        master_key_id_(blob_name_.master_key_id()),
        clock_(environment.clock),
        client_(settings_, environment.http, environment.clock),
        tokens_(vault_tokens(settings_, client_, environment.clock), environment.clock),
        remedies_(settings_) {}

  std::string_view name() const override { return "vault"; }
  const Remedies* remedies() const override { return &remedies_; }
  std::string description() const override {
    return fmt::format("Vault - address: {}, key: {}", settings_.address, master_key_id_);
  }

  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    if (data_keys_.load() != Binding::ignored) {
      auto made = TRY(data_key_of_vault(call, context));
      if (is_bound(call, made, context)) return made;
    }
    SecretBytes plaintext = SecretBytes::random(data_key_bytes);
    Wrapping wrapped = TRY(encrypt(call, plaintext.expose(), context));
    return DataKey{std::move(plaintext), std::move(wrapped)};
  }

  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    TRY(check_wrap_size(plaintext.size()));
    WipedString body = opening(context);
    body += R"(,"plaintext":")";
    base64_append(plaintext, body);
    body += R"("})";
    auto wrapped =
        TRY(wrapping_in(TRY(ask(call, of_key("encrypt", "encrypt", std::move(body)))), "encrypt"));
    if (!wrappings_bound_.load()) TRY(check_bound(call, wrapped, context));
    return wrapped;
  }

  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    const auto text = vault_text(TRY(blob_name_.open(wrapping)));
    if (!text) return fail(ErrorCode::invalid_ciphertext, "the wrapped key was altered");
    WipedString body = opening(context);
    body += fmt::format(R"(,"ciphertext":"{}"}})", *text);
    return secret_in(TRY(ask(call, of_key("decrypt", "decrypt", std::move(body)))), "decrypt");
  }

  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    const auto answer =
        TRY(ask(call, {.method = "GET",
                       .path = fmt::format("{}/keys/{}", settings_.mount, settings_.key),
                       .purpose = "describe key"}));
    const auto type = answer.text("/data/type");
    if (!type) return strange("describe key", "its type is missing");
    MasterKeyInfo info{.key_id = master_key_id_, .state = "Enabled"};
    const auto unusable = [&](std::string state) {
      info.usable = false;
      info.state = std::move(state);
    };
    const bool aead = type->starts_with("aes256-gcm") || type->ends_with("chacha20-poly1305");
    if (type->starts_with("aes128-gcm")) {
      unusable(
          fmt::format("of type {}, weaker than what it would wrap; aes256-gcm96 is not", *type));
    } else if (!aead) {
      unusable(fmt::format("of type {}, which binds no context; aes256-gcm96 does", *type));
    } else if (answer.flag("/data/derived").value_or(false)) {
      unusable("derived, which needs a context of Vault's own");
    } else if (answer.flag("/data/soft_deleted").value_or(false)) {
      unusable("soft deleted");
    }
    return info;
  }

 private:
  VaultRequest of_key(std::string_view verb, std::string_view purpose, WipedString body) const {
    return {.path = fmt::format("{}/{}/{}", settings_.mount, verb, settings_.key),
            .purpose = std::string(purpose),
            .body = std::move(body)};
  }

  enum class Binding : std::uint8_t { unknown, honoured, ignored };

  // Whether `wrapped` opens under its own context and under no other. Errors: what Vault answers
  // where that cannot be tried.
  Result<Binding> try_binding(const CallContext& call, const Wrapping& wrapped,
                              const EncryptionContext& context) {
    EncryptionContext other;
    if (context.empty()) other["another"] = "context";
    for (const auto& each : {std::cref(other), std::cref(context)}) {
      const auto opened = decrypt(call, wrapped, each);
      if (!opened && opened.error().code != ErrorCode::invalid_ciphertext) {
        return std::unexpected(opened.error());
      }
      if (opened.has_value() != (&each.get() == &context)) return Binding::ignored;
    }
    return Binding::honoured;
  }

  // HashiCorp's datakey takes no associated data and says nothing: such a key would be bound to
  // nobody. Where it cannot be tried, the key is not used either.
  bool is_bound(const CallContext& call, const DataKey& made, const EncryptionContext& context) {
    if (data_keys_.load() == Binding::honoured) return true;
    const auto found = try_binding(call, made.wrapped, context);
    if (!found) return false;
    if (data_keys_.exchange(*found) != *found && *found == Binding::ignored) {
      logger(log_category::kms)
          .info(
              "This Vault binds no context to its data keys: they are made here, and wrapped by "
              "its encrypt");
    }
    if (*found != Binding::honoured) return false;
    wrappings_bound_ = true;
    return true;
  }

  // A Vault before 1.13 ignores associated data everywhere, and says nothing either: each tenant's
  // keys would open as another's. Whoever may not decrypt may still wrap, because what is wrapped
  // is of no use to it.
  Status check_bound(const CallContext& call, const Wrapping& wrapped,
                     const EncryptionContext& context) {
    const auto found = try_binding(call, wrapped, context);
    if (!found && found.error().code == ErrorCode::kms_access_denied) return {};
    if (!found) return std::unexpected(found.error());
    if (*found != Binding::honoured) {
      return fail(ErrorCode::kms_key_disabled,
                  fmt::format("Failed to encrypt: {} binds no context to what it wraps; OpenBao "
                              "does, and Vault from 1.13 on",
                              settings_.address));
    }
    wrappings_bound_ = true;
    return {};
  }

  Result<DataKey> data_key_of_vault(const CallContext& call, const EncryptionContext& context) {
    constexpr std::string_view purpose = "generate data key";
    WipedString body = opening(context);
    body += R"(,"bits":256})";
    const auto answer = TRY(ask(call, of_key("datakey/plaintext", purpose, std::move(body))));
    SecretBytes plaintext = TRY(secret_in(answer, purpose));
    if (plaintext.size() != data_key_bytes) return strange(purpose, "it has not 32 bytes");
    Wrapping wrapped = TRY(wrapping_in(answer, purpose));
    return DataKey{std::move(plaintext), std::move(wrapped)};
  }

  // Vault answers to a token that has ended as to a policy that refuses.
  Result<JsonAnswer> ask(const CallContext& call, const VaultRequest& request) {
    return call_with(
        tokens_, clock_, call,
        [&](const VaultToken& token) { return client_.ask(call, request, token.value); },
        [](const Error& error) { return error.code == ErrorCode::kms_access_denied; });
  }

  Result<SecretBytes> secret_in(const JsonAnswer& answer, std::string_view purpose) const {
    const auto text = answer.text("/data/plaintext");
    const auto bytes = text ? base64_decode(*text) : std::nullopt;
    if (!bytes || bytes->empty() || bytes->size() > wrap_bytes_max) {
      return strange(purpose, "plaintext is missing or not base64");
    }
    return SecretBytes::copy_of(*bytes);
  }

  Result<Wrapping> wrapping_in(const JsonAnswer& answer, std::string_view purpose) const {
    const auto text = answer.text("/data/ciphertext");
    const auto bytes = text ? vault_bytes(*text) : std::nullopt;
    if (!bytes) return strange(purpose, "ciphertext is missing or not vault:vN:base64");
    return blob_name_.wrapping(*bytes);
  }

  std::unexpected<Error> strange(std::string_view purpose, std::string_view what) const {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("Failed to {}: {} answered something else: {}", purpose,
                            settings_.address, what));
  }

  const VaultSettings settings_;
  const BlobName blob_name_;
  const std::string& master_key_id_;
  const Clock& clock_;
  const VaultClient client_;
  VaultTokenCache tokens_;
  const VaultRemedies remedies_;
  std::atomic<Binding> data_keys_ = Binding::unknown;  // of contexts, by datakey
  std::atomic<bool> wrappings_bound_ = false;          // by encrypt
};

}  // namespace

Result<std::unique_ptr<Provider>> make_vault_provider(const ProviderEnvironment& environment) {
  VaultSettings settings = TRY(read_vault_settings(environment));
  for (const std::string& warning : settings.warnings) logger(log_category::kms).warn(warning);
  return std::make_unique<VaultProvider>(environment, std::move(settings));
}

}  // namespace betrace::kms
