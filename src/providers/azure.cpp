#include "providers/azure.h"

#include <algorithm>
#include <atomic>
#include <set>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/azure_blob.h"
#include "providers/azure_errors.h"
#include "providers/azure_remedies.h"
#include "providers/azure_settings.h"
#include "providers/azure_tokens.h"
#include "providers/exchange.h"
#include "providers/json_answer.h"
#include "providers/named_blob.h"
#include "providers/wrap_limits.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t key_bytes = 32;
constexpr std::size_t rsa_bytes_min = 256;
constexpr std::string_view api_version = "?api-version=7.4";

// What a wrapping is bound to, `kid` with the version.
std::string additional_data(std::string_view kid, const EncryptionContext& context) {
  return fmt::format("betrace-kms azure 1\n{}\n{}", kid, canonical_json(context));
}

WipedString key_operation(AzureAlgorithm algorithm, std::span<const std::uint8_t> value) {
  WipedString body(fmt::format(R"({{"alg":"{}","value":")", to_string(algorithm)));
  base64url_append(value, body);
  body += R"("})";
  return body;
}

class AzureProvider final : public Provider {
 public:
  AzureProvider(const ProviderEnvironment& environment, AzureSettings settings)
      : settings_(std::move(settings)),
        blob_name_("azure", settings_.master_key_id()),
        key_(blob_name_.master_key_id()),
        http_(environment.http),
        clock_(environment.clock),
        tokens_(azure_tokens(settings_, environment.http, environment.clock), environment.clock),
        remedies_(settings_) {}

  std::string_view name() const override { return "azure"; }
  const Remedies* remedies() const override { return &remedies_; }
  std::string description() const override {
    return fmt::format("Azure Key Vault - key: {}", key_);
  }

  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    SecretBytes plaintext = SecretBytes::random(key_bytes);
    Wrapping wrapped = TRY(wrap(call, plaintext.expose(), context, "generate data key"));
    return DataKey{std::move(plaintext), std::move(wrapped)};
  }

  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    TRY(check_wrap_size(plaintext.size()));
    return wrap(call, plaintext, context, "encrypt");
  }

  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    const auto blob = read_azure_blob(TRY(blob_name_.open(wrapping)));
    if (!blob) {
      return fail(ErrorCode::invalid_ciphertext,
                  "the wrapped key is no blob of the azure provider: it was cut short or altered");
    }
    const auto kek = TRY(unwrap(call, *blob));
    WipedBytes plaintext(blob->sealed.size() - gcm_tag_bytes);
    const auto aad = additional_data(version_id(blob->version), context);
    if (gcm_open(kek, blob->nonce.first<gcm_nonce_bytes>(), as_bytes(aad), blob->sealed,
                 plaintext)) {
      return SecretBytes::copy_of(plaintext);
    }
    return fail(ErrorCode::invalid_ciphertext,
                fmt::format("{} (the tag is wrong)", context_mismatch_message));
  }

  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    auto answer = ask(call, "GET", key_, "describe key", {});
    if (!answer && answer.error().type == "KeyNotFound") {
      // In a vault with soft delete it may be there still; who may not look is told of the first.
      if (auto deleted = describe_deleted(call)) return *std::move(deleted);
    }
    if (!answer) return std::unexpected(std::move(answer).error());
    return state_of(*answer);
  }

 private:
  Result<Wrapping> wrap(const CallContext& call, std::span<const std::uint8_t> plaintext,
                        const EncryptionContext& context, std::string_view purpose) {
    const auto kek = SecretBytes::random(key_bytes);
    auto algorithm = algorithm_.load();
    auto answer = wrap_kek(call, kek, algorithm, purpose);
    if (!answer && answer.error().code == ErrorCode::invalid_argument) {
      // The key is of the other kind, or another one of its name has taken its place.
      algorithm = algorithm == AzureAlgorithm::a256kw ? AzureAlgorithm::rsa_oaep_256
                                                      : AzureAlgorithm::a256kw;
      auto other = wrap_kek(call, kek, algorithm, purpose);
      if (other) {
        algorithm_ = algorithm;
        answer = std::move(other);
      }
    }
    if (!answer) return std::unexpected(std::move(answer).error());
    const auto kid = answer->text("/kid");
    const auto text = answer->text("/value");
    const auto wrapped = text ? base64url_decode(*text) : std::nullopt;
    const auto version = kid ? version_in(*kid) : std::string_view();
    if (!wrapped || wrapped->empty() || wrapped->size() > 0xffff || !is_azure_version(version)) {
      return strange(purpose, "kid or value are missing, or are of another key");
    }
    Bytes nonce(gcm_nonce_bytes), sealed(plaintext.size() + gcm_tag_bytes);
    random_bytes(nonce);
    gcm_seal(kek, std::span(nonce).first<gcm_nonce_bytes>(),
             as_bytes(additional_data(version_id(version), context)), plaintext, sealed);
    const auto blob = write_azure_blob({.algorithm = algorithm,
                                        .version = std::string(version),
                                        .kek = *wrapped,
                                        .nonce = nonce,
                                        .sealed = sealed});
    return blob_name_.wrapping(blob);
  }

  std::string version_id(std::string_view version) const {
    return fmt::format("{}/{}", key_, version);
  }

  Result<JsonAnswer> wrap_kek(const CallContext& call, const SecretBytes& kek,
                              AzureAlgorithm algorithm, std::string_view purpose) {
    return ask(call, "POST", key_ + "/wrapkey", purpose, key_operation(algorithm, kek.expose()));
  }

  Result<SecretBytes> unwrap(const CallContext& call, const AzureBlob& blob) {
    auto answer = ask(call, "POST", fmt::format("{}/unwrapkey", version_id(blob.version)),
                      "decrypt", key_operation(blob.algorithm, blob.kek));
    if (!answer) return std::unexpected(of_this_version(call, std::move(answer).error()));
    const auto text = answer->text("/value");
    const auto kek = text ? base64url_decode(*text) : std::nullopt;
    if (!kek || kek->size() != key_bytes) return strange("decrypt", "value is missing");
    return SecretBytes::copy_of(*kek);
  }

  // Of the answer about the key's newest version, which wraps.
  Result<MasterKeyInfo> state_of(const JsonAnswer& answer) const {
    const auto kty = answer.text("/key/kty");
    const auto enabled = answer.flag("/attributes/enabled");
    if (!kty || !enabled) return strange("describe key", "kty or attributes are missing");
    const auto now = std::chrono::floor<std::chrono::seconds>(clock_.now()).time_since_epoch();
    const auto seconds = static_cast<double>(now.count());
    MasterKeyInfo info{.key_id = key_, .state = "Enabled", .usable = false};
    if (!*enabled) {
      info.state = "Disabled";
    } else if (answer.number("/attributes/nbf").value_or(seconds) > seconds) {
      info.state = "NotYetValid";
    } else if (answer.number("/attributes/exp").value_or(seconds + 1) <= seconds) {
      info.state = "Expired";  // unwraps still, but wraps no more
    } else if (const auto unfit = why_unfit(answer, *kty); !unfit.empty()) {
      info.state = fmt::format("Enabled, {}", unfit);
    } else {
      info.usable = true;
    }
    return info;
  }

  // Why a key cannot be a master key, whatever its state; empty when it can.
  static std::string why_unfit(const JsonAnswer& answer, std::string_view kty) {
    if (!kty.starts_with("RSA") && !kty.starts_with("oct")) {
      return fmt::format("of type {}; RSA and oct-HSM can wrap", kty);
    }
    const auto modulus = answer.text("/key/n");
    const auto bytes = modulus ? base64url_decode(*modulus) : std::nullopt;
    if (bytes && bytes->size() < rsa_bytes_min) {
      return fmt::format("of {} bits; an RSA key has 2048 or more", bytes->size() * 8);
    }
    std::set<std::string_view> allowed;
    for (int i = 0; const auto each = answer.text(fmt::format("/key/key_ops/{}", i)); ++i) {
      allowed.insert(*each);
    }
    for (const std::string_view needed : {"wrapKey", "unwrapKey"}) {
      if (!allowed.empty() && !allowed.contains(needed)) {
        return fmt::format("without {} among its permitted operations", needed);
      }
    }
    return {};
  }

  // The version that `kid` names; empty when it is of another key. Key Vault does not tell names
  // apart by case.
  std::string_view version_in(std::string_view kid) const {
    const auto same = [](char a, char b) {
      const auto lower = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      };
      return lower(a) == lower(b);
    };
    const auto prefix = key_ + "/";
    if (kid.size() <= prefix.size() ||
        !std::ranges::equal(kid.substr(0, prefix.size()), prefix, same)) {
      return {};
    }
    return kid.substr(prefix.size());
  }

  // A version that is not there says nothing about the key, if that is.
  Error of_this_version(const CallContext& call, Error error) {
    if (error.code == ErrorCode::invalid_argument) {
      error.code = ErrorCode::invalid_ciphertext;
      error.message = fmt::format("{} ({})", context_mismatch_message, error.message);
    } else if (error.type == "KeyNotFound" && ask(call, "GET", key_, "describe key", {})) {
      error.code = ErrorCode::wrapped_elsewhere;
    }
    return error;
  }

  Result<MasterKeyInfo> describe_deleted(const CallContext& call) {
    const auto answer =
        TRY(ask(call, "GET", fmt::format("{}/deletedkeys/{}", settings_.uri, settings_.key),
                "describe key", {}));
    MasterKeyInfo info{.key_id = key_, .state = "Deleted", .usable = false};
    if (const auto at = answer.number("/scheduledPurgeDate"); at && *at > 0 && *at < 1e11) {
      info.deletion_at = SystemTime(std::chrono::seconds(static_cast<std::int64_t>(*at)));
    }
    return info;
  }

  Result<JsonAnswer> ask(const CallContext& call, std::string_view method, std::string_view url,
                         std::string_view purpose, const WipedString& body) {
    return call_with(
        tokens_, clock_, call,
        [&](const Token& token) { return ask_as(call, method, url, purpose, body, token); },
        [](const Error& error) { return error.message.contains("(HTTP 401"); });
  }

  Result<JsonAnswer> ask_as(const CallContext& call, std::string_view method, std::string_view url,
                            std::string_view purpose, const WipedString& body, const Token& token) {
    HttpCall out{.method = std::string(method),
                 .url = fmt::format("{}{}", url, api_version),
                 .body = body,
                 .ca_file = settings_.ca_file};
    out.headers = {{"Authorization", fmt::format("Bearer {}", std::string_view(token.value))}};
    if (!body.empty()) out.headers.emplace_back("Content-Type", "application/json");
    const auto answer = TRY(exchange(http_, clock_, call, std::move(out),
                                     {.purpose = std::string(purpose),
                                      .what = "Key Vault",
                                      .log = log_category::kms,
                                      .request_id = "x-ms-request-id"}));
    if (answer.status != 200) {
      return std::unexpected(classify_azure_error(answer, purpose, clock_.now()));
    }
    auto json = JsonAnswer::parse(answer.body);
    if (!json) return strange(purpose, "it is not a JSON object");
    return *std::move(json);
  }

  std::unexpected<Error> strange(std::string_view purpose, std::string_view what) const {
    return fail(
        ErrorCode::kms_unavailable,
        fmt::format("Failed to {}: {} answered something else: {}", purpose, settings_.uri, what));
  }

  const AzureSettings settings_;
  const BlobName blob_name_;
  const std::string& key_;
  HttpClient& http_;
  const Clock& clock_;
  CredentialCache<Token> tokens_;
  const AzureRemedies remedies_;
  std::atomic<AzureAlgorithm> algorithm_ = AzureAlgorithm::rsa_oaep_256;
};

}  // namespace

Result<std::unique_ptr<Provider>> make_azure_provider(const ProviderEnvironment& environment) {
  return std::make_unique<AzureProvider>(environment, TRY(read_azure_settings(environment)));
}

}  // namespace betrace::kms
