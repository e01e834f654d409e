#include "providers/aws.h"

#include <cmath>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"
#include "providers/aws_credentials.h"
#include "providers/aws_errors.h"
#include "providers/aws_exchange.h"
#include "providers/aws_profile.h"
#include "providers/aws_regions.h"
#include "providers/aws_remedies.h"
#include "providers/aws_settings.h"
#include "providers/json_answer.h"
#include "providers/wrap_limits.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t data_key_bytes = 32;

struct Operation {
  std::string_view name;     // TrentService's
  std::string_view purpose;  // "generate data key"
};
constexpr Operation generate_operation{"GenerateDataKey", "generate data key"};
constexpr Operation encrypt_operation{"Encrypt", "encrypt"};
constexpr Operation decrypt_operation{"Decrypt", "decrypt"};
constexpr Operation describe_operation{"DescribeKey", "describe key"};

struct Request {
  const Operation& operation;
  std::string_view key_id;
  const EncryptionContext* context = nullptr;
  WipedString fields = {};  // further ones: `,"Plaintext":"…"`
};

WipedString body_of(const Request& request, const AwsRegion& region) {
  std::string text = R"({"KeyId":)";
  append_json_string(key_in_region(request.key_id, region.name), text);
  if (request.context && !request.context->empty()) {
    text += R"(,"EncryptionContext":)";
    text += canonical_json(*request.context);
  }
  WipedString body(text);
  body += request.fields;
  body += "}";
  return body;
}

WipedString base64_field(std::string_view name, std::span<const std::uint8_t> bytes) {
  WipedString field(fmt::format(R"(,"{}":")", name));
  base64_append(bytes, field);
  field += "\"";
  return field;
}

std::vector<AwsRegion> all_regions(const AwsSettings& settings) {
  std::vector<AwsRegion> all{settings.home};
  all.insert(all.end(), settings.replicas.begin(), settings.replicas.end());
  return all;
}

class AwsProvider final : public Provider {
 public:
  AwsProvider(const ProviderEnvironment& environment, AwsSettings settings)
      : settings_(std::move(settings)),
        http_(environment.http),
        clock_(environment.clock),
        credentials_(make_aws_credentials(environment, all_regions(settings_))),
        regions_("AWS KMS", all_regions(settings_), environment.clock),
        remedies_(settings_) {}

  std::string_view name() const override { return "aws"; }
  const Remedies* remedies() const override { return &remedies_; }
  std::string description() const override {
    std::string regions = "region: " + settings_.home.name;
    for (const auto& each : settings_.replicas) regions += ", then " + each.name;
    return fmt::format("AWS KMS - {}, key: {}", regions, settings_.key_id);
  }

  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    const JsonAnswer answer = TRY(ask(call, {.operation = generate_operation,
                                             .key_id = settings_.key_id,
                                             .context = &context,
                                             .fields = WipedString(R"(,"KeySpec":"AES_256")")}));
    SecretBytes plaintext = TRY(secret_in(answer, generate_operation));
    if (plaintext.size() != data_key_bytes) {
      return strange(generate_operation, "its Plaintext has not 32 bytes");
    }
    Wrapping wrapped = TRY(wrapping_in(answer, generate_operation));
    return DataKey{std::move(plaintext), std::move(wrapped)};
  }

  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    TRY(check_wrap_size(plaintext.size()));
    return wrapping_in(TRY(ask(call, {.operation = encrypt_operation,
                                      .key_id = settings_.key_id,
                                      .context = &context,
                                      .fields = base64_field("Plaintext", plaintext)})),
                       encrypt_operation);
  }

  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override {
    TRY(check_wrap_context(context));
    if (wrapping.provider != name()) {
      return fail(
          ErrorCode::wrapped_elsewhere,
          fmt::format("the key was wrapped by provider '{}', not by 'aws'", wrapping.provider));
    }
    if (wrapping.blob.empty() || wrapping.master_key_id.empty()) {
      return fail(ErrorCode::invalid_ciphertext,
                  "the wrapped key is empty or names no master key: it was cut short or altered");
    }
    auto answer = ask(call, {.operation = decrypt_operation,
                             .key_id = wrapping.master_key_id,
                             .context = &context,
                             .fields = base64_field("CiphertextBlob", wrapping.blob)});
    if (!answer) return std::unexpected(of_this_key(std::move(answer.error()), wrapping));
    // AWS refuses a blob of another key itself; some that speak its protocol do not.
    const auto opened_by = answer->text("/KeyId");
    if (!opened_by) return strange(decrypt_operation, "KeyId is missing");
    if (wrapping.master_key_id.find("alias/") == std::string::npos &&
        !same_kms_key(*opened_by, wrapping.master_key_id)) {
      return fail(ErrorCode::wrapped_elsewhere,
                  fmt::format("the key was wrapped under master key {}, not under {}", *opened_by,
                              wrapping.master_key_id));
    }
    return secret_in(*answer, decrypt_operation);
  }

  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    const JsonAnswer answer =
        TRY(ask(call, {.operation = describe_operation, .key_id = settings_.key_id}));
    auto id = answer.text("/KeyMetadata/Arn");
    if (!id) id = answer.text("/KeyMetadata/KeyId");
    const auto state = answer.text("/KeyMetadata/KeyState");
    if (!id || !state) return strange(describe_operation, "KeyMetadata is missing or incomplete");
    MasterKeyInfo info{.key_id = key_in_region(*id, settings_.home.name),
                       .state = std::string(*state),
                       .usable = *state == "Enabled",
                       .deletion_at = {},
                       .alias = settings_.key_id.find("alias/") == std::string::npos
                                    ? std::string()
                                    : settings_.key_id};
    const auto spec = answer.text("/KeyMetadata/KeySpec").value_or("SYMMETRIC_DEFAULT");
    if (spec != "SYMMETRIC_DEFAULT") {
      info.usable = false;
      info.state += fmt::format(", of KeySpec {} which cannot wrap data keys", spec);
    }
    if (const auto seconds = answer.number("/KeyMetadata/DeletionDate");
        seconds && std::abs(*seconds) < 1e11) {
      info.deletion_at = SystemTime(std::chrono::milliseconds(std::llround(*seconds * 1000)));
    }
    return info;
  }

 private:
  Result<JsonAnswer> ask(const CallContext& call, const Request& request) {
    const auto credentials = TRY(credentials_.get(call));
    auto answer = ask_as(call, request, *credentials);
    if (answer || !refuses_credentials(answer.error())) return answer;
    // Not a retry of the same request: only with credentials that AWS has not refused yet.
    credentials_.forget(credentials);
    const auto fresh = credentials_.get(call);
    const bool differ = fresh && ((*fresh)->access_key_id != credentials->access_key_id ||
                                  (*fresh)->session_token != credentials->session_token);
    return differ ? ask_as(call, request, **fresh) : std::move(answer);
  }

  Result<JsonAnswer> ask_as(const CallContext& call, const Request& request,
                            const AwsCredentials& credentials) {
    return regions_.ask(call, [&](const CallContext& within, const AwsRegion& region) {
      return ask_in(region, within, request, credentials);
    });
  }

  Result<JsonAnswer> ask_in(const AwsRegion& region, const CallContext& call,
                            const Request& request, const AwsCredentials& credentials) {
    const Operation& operation = request.operation;
    const AwsRequest out{
        .service = "kms",
        .operation = operation.name,
        .purpose = std::string(operation.purpose),
        .region = region.name,
        .url = region.kms_url,
        .headers = {{"Content-Type", "application/x-amz-json-1.1"},
                    {"X-Amz-Target", fmt::format("TrentService.{}", operation.name)}},
        .body = body_of(request, region)};
    const HttpAnswer answer = TRY(send_to_aws(http_, clock_, call, out, credentials));
    auto json = JsonAnswer::parse(answer.body);
    if (!json) return strange(operation, "it is not a JSON object");
    return *std::move(json);
  }

  Result<SecretBytes> secret_in(const JsonAnswer& answer, const Operation& operation) const {
    const auto text = answer.text("/Plaintext");
    const auto bytes = text ? base64_decode(*text) : std::nullopt;
    if (!bytes || bytes->empty() || bytes->size() > wrap_bytes_max) {
      return strange(operation, "Plaintext is missing or not base64");
    }
    return SecretBytes::copy_of(*bytes);
  }

  Result<Wrapping> wrapping_in(const JsonAnswer& answer, const Operation& operation) const {
    const auto key_id = answer.text("/KeyId");
    if (!key_id || key_id->empty()) return strange(operation, "KeyId is missing");
    const auto text = answer.text("/CiphertextBlob");
    const auto blob = text ? base64_decode(*text) : std::nullopt;
    if (!blob || blob->empty()) {
      return strange(operation, "CiphertextBlob is missing or not base64");
    }
    return Wrapping{.provider = "aws",
                    .master_key_id = key_in_region(*key_id, settings_.home.name),
                    .blob = Bytes(blob->begin(), blob->end())};
  }

  // A row under a master key that is not there, or that another account keeps to itself, says
  // nothing about the configured one.
  Error of_this_key(Error error, const Wrapping& wrapping) const {
    if (same_kms_key(wrapping.master_key_id, settings_.key_id)) return error;
    const bool alias = settings_.key_id.find("alias/") != std::string::npos;
    if (error.type == "NotFoundException" || (error.type == "AccessDeniedException" && !alias)) {
      error.code = ErrorCode::wrapped_elsewhere;
    }
    return error;
  }

  std::unexpected<Error> strange(const Operation& operation, std::string_view what) const {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("Failed to {}: {} answered something that is not a {} result: {}",
                            operation.purpose, settings_.home.kms_url, operation.name, what));
  }

  const AwsSettings settings_;
  HttpClient& http_;
  const Clock& clock_;
  AwsCredentialCache credentials_;
  AwsRegions regions_;
  const AwsRemedies remedies_;
};

// The profile's settings are a convenience; a file that cannot be read is said by the first call,
// which needs its credentials.
AwsProfile profile_of(const ProviderEnvironment& environment) {
  const AwsFileNames names = find_aws_files(environment);
  auto profiles = read_aws_profiles(names);
  if (!profiles) return {};
  const auto profile = profiles->find(names.profile);
  return profile == profiles->end() ? AwsProfile{} : std::move(profile->second);
}

}  // namespace

Result<std::unique_ptr<Provider>> make_aws_provider(const ProviderEnvironment& environment) {
  AwsSettings settings = TRY(read_aws_settings(environment, profile_of(environment)));
  for (const std::string& warning : settings.warnings) logger(log_category::kms).warn(warning);
  return std::make_unique<AwsProvider>(environment, std::move(settings));
}

}  // namespace betrace::kms
