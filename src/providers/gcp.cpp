#include "providers/gcp.h"

#include <atomic>
#include <charconv>

#include <boost/crc.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/exchange.h"
#include "providers/gcp_errors.h"
#include "providers/gcp_remedies.h"
#include "providers/gcp_settings.h"
#include "providers/gcp_tokens.h"
#include "providers/json_answer.h"
#include "providers/named_blob.h"
#include "providers/wrap_limits.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t data_key_bytes = 32;

// RFC 3720, appendix B.4.
std::uint32_t crc32c(std::span<const std::uint8_t> bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

// `"NAME":"base64","NAMECrc32c":"number"`, after what is there.
void add(std::string_view name, std::span<const std::uint8_t> bytes, WipedString& body) {
  body += fmt::format(R"({}"{}":")", body.empty() ? "{" : ",", name);
  base64_append(bytes, body);
  body += fmt::format(R"(","{}Crc32c":"{}")", name, crc32c(bytes));
}

// The bytes of a field whose checksum is beside it; nothing when they are missing or do not match.
std::optional<WipedBytes> checked_field(const JsonAnswer& answer, std::string_view name) {
  const auto text = answer.text(fmt::format("/{}", name));
  const auto sum = answer.text(fmt::format("/{}Crc32c", name));
  auto bytes = text ? base64_decode(*text) : std::nullopt;
  if (!bytes || bytes->empty() || !sum) return std::nullopt;
  return *sum == std::to_string(crc32c(*bytes)) ? bytes : std::nullopt;
}

class GcpProvider final : public Provider {
 public:
  GcpProvider(const ProviderEnvironment& environment, GcpSettings settings)
      : settings_(std::move(settings)),
        blob_name_("gcp", settings_.key_name()),
        key_(blob_name_.master_key_id()),
        http_(environment.http),
        clock_(environment.clock),
        tokens_(gcp_tokens(settings_, environment), environment.clock),
        remedies_(settings_) {}

  std::string_view name() const override { return "gcp"; }
  const Remedies* remedies() const override { return &remedies_; }
  std::string description() const override {
    return fmt::format("Google Cloud KMS - key: {}", key_);
  }

  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    SecretBytes plaintext = TRY(random_key(call));
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
    const auto ciphertext = TRY(blob_name_.open(wrapping));
    WipedString body;
    add("ciphertext", ciphertext, body);
    add("additionalAuthenticatedData", as_bytes(canonical_json(context)), body);
    body += "}";
    const auto answer = TRY(ask(call, "POST", key_ + ":decrypt", "decrypt", body));
    const auto plaintext = checked_field(answer, "plaintext");
    if (!plaintext || plaintext->size() > wrap_bytes_max) {
      return strange("decrypt", "plaintext is missing, or not what its checksum says");
    }
    return SecretBytes::copy_of(*plaintext);
  }

  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    const auto answer = TRY(ask(call, "GET", key_, "describe key", {}));
    const auto purpose = answer.text("/purpose");
    if (!purpose) return strange("describe key", "its purpose is missing");
    const auto state = answer.text("/primary/state");
    MasterKeyInfo info{.key_id = key_,
                       .state = std::string(state.value_or("without a primary version")),
                       .usable = state == "ENABLED"};
    if (info.usable) info.state = "Enabled";
    if (*purpose != "ENCRYPT_DECRYPT") {
      info.usable = false;
      info.state = fmt::format("of purpose {}; ENCRYPT_DECRYPT can wrap", *purpose);
    }
    if (const auto at = answer.text("/primary/destroyTime")) {
      info.deletion_at = parse_utc_time(*at);
    }
    return info;
  }

 private:
  Result<Wrapping> wrap(const CallContext& call, std::span<const std::uint8_t> plaintext,
                        const EncryptionContext& context, std::string_view purpose) {
    WipedString body;
    add("plaintext", plaintext, body);
    add("additionalAuthenticatedData", as_bytes(canonical_json(context)), body);
    body += "}";
    const auto answer = TRY(ask(call, "POST", key_ + ":encrypt", purpose, body));
    if (!answer.flag("/verifiedPlaintextCrc32c").value_or(false) ||
        !answer.flag("/verifiedAdditionalAuthenticatedDataCrc32c").value_or(false)) {
      return strange(purpose, "it has not verified the checksums that it was sent");
    }
    const auto ciphertext = checked_field(answer, "ciphertext");
    if (!ciphertext) return strange(purpose, "ciphertext is not what its checksum says");
    return blob_name_.wrapping(*ciphertext);
  }

  // What Google refuses for good (the location has no HSMs, or we may not) is not asked for again.
  Result<SecretBytes> random_key(const CallContext& call) {
    if (local_random_.load()) return SecretBytes::random(data_key_bytes);
    const auto answer =
        ask(call, "POST", settings_.location_name() + ":generateRandomBytes", "generate data key",
            WipedString(
                fmt::format(R"({{"lengthBytes":{},"protectionLevel":"HSM"}})", data_key_bytes)));
    if (answer) {
      const auto bytes = checked_field(*answer, "data");
      if (bytes && bytes->size() == data_key_bytes) return SecretBytes::copy_of(*bytes);
      return strange("generate data key", "its random bytes are not what their checksum says");
    }
    const auto& error = answer.error();
    const bool logged_in = !error.type.empty();  // else it is of the token, not of what was asked
    const bool passing = error.code == ErrorCode::kms_unavailable || !logged_in ||
                         error.code == ErrorCode::kms_timeout || refuses_token(error);
    if (passing) return std::unexpected(error);
    if (!local_random_.exchange(true)) {
      logger(log_category::kms)
          .info("Data keys come from the operating system's random numbers: {}", error.message);
    }
    return SecretBytes::random(data_key_bytes);
  }

  Result<JsonAnswer> ask(const CallContext& call, std::string_view method, std::string_view path,
                         std::string_view purpose, const WipedString& body) {
    return call_with(
        tokens_, clock_, call,
        [&](const Token& token) { return ask_as(call, method, path, purpose, body, token); },
        refuses_token);
  }

  Result<JsonAnswer> ask_as(const CallContext& call, std::string_view method, std::string_view path,
                            std::string_view purpose, const WipedString& body, const Token& token) {
    HttpCall out{.method = std::string(method),
                 .url = fmt::format("{}/v1/{}", settings_.url, path),
                 .body = body};
    out.headers = {{"Authorization", fmt::format("Bearer {}", std::string_view(token.value))}};
    if (!body.empty()) out.headers.emplace_back("Content-Type", "application/json");
    const auto answer = TRY(
        exchange(http_, clock_, call, std::move(out),
                 {.purpose = std::string(purpose), .what = "Cloud KMS", .log = log_category::kms}));
    if (answer.status != 200) {
      return std::unexpected(classify_gcp_error(answer, purpose, clock_.now()));
    }
    auto json = JsonAnswer::parse(answer.body);
    if (!json) return strange(purpose, "it is not a JSON object");
    return *std::move(json);
  }

  std::unexpected<Error> strange(std::string_view purpose, std::string_view what) const {
    return fail(
        ErrorCode::kms_unavailable,
        fmt::format("Failed to {}: {} answered something else: {}", purpose, settings_.url, what));
  }

  const GcpSettings settings_;
  const BlobName blob_name_;
  const std::string& key_;
  HttpClient& http_;
  const Clock& clock_;
  CredentialCache<Token> tokens_;
  const GcpRemedies remedies_;
  std::atomic<bool> local_random_ = false;
};

}  // namespace

Result<std::unique_ptr<Provider>> make_gcp_provider(const ProviderEnvironment& environment) {
  GcpSettings settings = TRY(read_gcp_settings(environment));
  for (const std::string& warning : settings.warnings) logger(log_category::kms).warn(warning);
  return std::make_unique<GcpProvider>(environment, std::move(settings));
}

}  // namespace betrace::kms
