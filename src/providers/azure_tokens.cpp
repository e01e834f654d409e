#include "providers/azure_tokens.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/http_time.h"
#include "base/jwt.h"
#include "base/try.h"
#include "providers/addresses.h"
#include "providers/exchange.h"
#include "providers/file_secret.h"
#include "providers/json_answer.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

// name="value" of a challenge; empty when absent.
std::string_view parameter(std::string_view header, std::string_view name) {
  const auto wanted = fmt::format("{}=\"", name);
  const auto at = header.find(wanted);
  if (at == std::string_view::npos) return {};
  header.remove_prefix(at + wanted.size());
  return header.substr(0, header.find('"'));
}

void add(std::string_view name, std::string_view value, WipedString& form) {
  form += fmt::format("{}{}=", form.empty() ? "" : "&", name);
  form += percent_encode(value);
}

std::string json_text(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

class Tokens {
 public:
  Tokens(const AzureSettings& settings, HttpClient& http, const Clock& clock)
      : settings_(settings),
        http_(http),
        clock_(clock),
        file_(settings.login == AzureLogin::certificate ? "azure.keyvault.client-certificate-file"
                                                        : "azure.keyvault.federated-token-file",
              settings.login == AzureLogin::certificate ? settings.certificate_file
                                                        : settings.federated_token_file) {}

  // `renews`: what the vault's challenge asked for still serves. Else it is asked again: a token
  // that it refused may be of a tenant that the vault has left.
  Result<Token> load(const CallContext& call, bool renews) {
    if (!challenge_ || !renews) challenge_ = TRY(challenge(call));
    switch (settings_.login) {
      case AzureLogin::app_service:
      case AzureLogin::managed_identity:
        return of_identity(call);
      default:
        return of_principal(call);
    }
  }
  bool has_changed() const { return !file_.path().empty() && file_.has_changed(); }

 private:
  // The vault says whom a token must be for when it is asked without one.
  Result<AzureChallenge> challenge(const CallContext& call) {
    HttpCall request{.url = settings_.master_key_id() + "?api-version=7.4",
                     .ca_file = settings_.ca_file};
    const auto answer = TRY(exchange(
        http_, clock_, call, std::move(request),
        {.purpose = "reach the key vault", .what = "Key Vault", .log = log_category::kms}));
    const auto found = parse_azure_challenge(answer.header("www-authenticate"));
    if (answer.status != 401 || !found) {
      return fail(ErrorCode::kms_unavailable,
                  fmt::format("{} answered HTTP {} without saying whom a token must be for: it is "
                              "no key vault",
                              settings_.uri, answer.status));
    }
    if (is_of_vault(found->resource, settings_.uri)) return *found;
    return fail(ErrorCode::kms_access_denied,
                fmt::format("{} asks for a token for {}, which is not its own: it gets none",
                            settings_.uri, found->resource));
  }

  Result<Token> of_principal(const CallContext& call) {
    const auto& tenant = settings_.tenant.empty() ? challenge_->tenant : settings_.tenant;
    const auto url =
        fmt::format("{}/{}/oauth2/v2.0/token", settings_.authority, percent_encode(tenant));
    WipedString form;
    add("grant_type", "client_credentials", form);
    add("client_id", settings_.client_id, form);
    add("scope", challenge_->resource + "/.default", form);
    if (settings_.login == AzureLogin::secret) {
      add("client_secret", std::string_view(settings_.client_secret), form);
    } else {
      const auto assertion =
          settings_.login == AzureLogin::certificate ? TRY(own_assertion(url)) : TRY(file_.read());
      add("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", form);
      add("client_assertion", std::string_view(assertion), form);
    }
    HttpCall request{.method = "POST", .url = url, .body = std::move(form)};
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    return ask(call, std::move(request), url);
  }

  // https://learn.microsoft.com/entra/identity-platform/certificate-credentials
  Result<WipedString> own_assertion(const std::string& audience) {
    const auto pem = TRY(file_.read());
    const auto unusable = [&](const Error& error) {
      return fail(ErrorCode::kms_access_denied, fmt::format("azure.keyvault.client-certificate-"
                                                            "file={}: {}",
                                                            file_.path(), error.message));
    };
    const auto thumbprint = certificate_thumbprint(pem);
    if (!thumbprint) return unusable(thumbprint.error());
    const auto now = std::chrono::floor<seconds>(clock_.now()).time_since_epoch().count();
    std::array<std::uint8_t, 16> id{};
    const auto random = SecretBytes::random(id.size());
    std::ranges::copy(random.expose(), id.begin());
    const auto header = fmt::format(R"({{"alg":"PS256","typ":"JWT","x5t#S256":"{}"}})",
                                    base64url_encode(*thumbprint));
    const auto claims = fmt::format(
        R"({{"aud":{0},"iss":{1},"sub":{1},"jti":"{2}","nbf":{3},"iat":{3},"exp":{4}}})",
        json_text(audience), json_text(settings_.client_id), hex_encode(id), now, now + 600);
    auto token = sign_jwt(header, claims, pem, JwtAlgorithm::ps256);
    if (!token) return unusable(token.error());
    return token;
  }

  // Of App Service (api-version 2019-08-01), else of the instance's metadata service (2018-02-01).
  Result<Token> of_identity(const CallContext& call) {
    const bool app = settings_.login == AzureLogin::app_service;
    auto url = fmt::format("{}{}?api-version={}&resource={}", settings_.identity_endpoint,
                           app ? "" : "/metadata/identity/oauth2/token",
                           app ? "2019-08-01" : "2018-02-01", percent_encode(challenge_->resource));
    if (!settings_.client_id.empty()) url += "&client_id=" + percent_encode(settings_.client_id);
    HttpCall request{.url = url};
    if (app) {
      request.headers = {{"X-IDENTITY-HEADER", std::string(settings_.identity_header)}};
    } else {
      request.headers = {{"Metadata", "true"}};
    }
    auto token = ask(call, std::move(request), settings_.identity_endpoint);
    // Where nobody has ever answered there is no such service: not a machine of Azure.
    if (token || answered_ || app) return token;
    return fail(ErrorCode::kms_access_denied,
                fmt::format("no Azure credentials found: neither azure.keyvault.client-secret, "
                            "azure.keyvault.client-certificate-file nor a federated token, and {}",
                            token.error().message));
  }

  Result<Token> ask(const CallContext& call, HttpCall request, const std::string& url) {
    const std::string purpose = "get a token of Azure";
    const auto answer =
        TRY(exchange(http_, clock_, call, std::move(request),
                     {.purpose = purpose, .what = "Azure credentials", .log = log_category::kms}));
    answered_ = true;
    const auto json = JsonAnswer::parse(answer.body);
    if (answer.status != 200) {
      auto words = json ? json->text("/error_description") : std::nullopt;
      if (json && !words) words = json->text("/error");
      const bool down = is_passing(answer.status);
      return std::unexpected(
          Error{.code = down ? ErrorCode::kms_unavailable : ErrorCode::kms_access_denied,
                .message = fmt::format("Failed to {}: {}: HTTP {}{}{}", purpose, url, answer.status,
                                       words ? ", " : "", words.value_or("")),
                .retry_after = parse_retry_after(answer.header("retry-after"), clock_.now()),
                .throttled = answer.status == 429});
    }
    const auto token = json ? json->text("/access_token") : std::nullopt;
    const auto life = json ? life_of(*json) : std::nullopt;
    if (!token || token->empty() || !life) {
      return fail(ErrorCode::kms_unavailable,
                  fmt::format("Failed to {}: {} answered something that is none", purpose, url));
    }
    const auto now = clock_.now();
    return Token{.value = WipedString(*token), .expires_at = now + *life, .obtained_at = now};
  }

  // The metadata service answers 404 and 410 while it is updated
  // (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
  bool is_passing(int status) const {
    const bool imds = settings_.login == AzureLogin::managed_identity;
    return status >= 500 || status == 429 || status == 408 ||
           (imds && (status == 404 || status == 410));
  }

  // A number, or of the metadata service a text; of App Service the time of its end.
  std::optional<seconds> life_of(const JsonAnswer& answer) const {
    const auto number_at = [&](std::string_view pointer) -> std::optional<std::int64_t> {
      if (const auto number = answer.number(pointer)) {
        return std::abs(*number) < 1e12 ? std::optional(static_cast<std::int64_t>(*number))
                                        : std::nullopt;
      }
      const auto text = answer.text(pointer);
      std::int64_t value = 0;
      if (!text ||
          std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc()) {
        return std::nullopt;
      }
      return value;
    };
    constexpr std::int64_t longest = 1'000'000;
    auto life = number_at("/expires_in");
    if (!life) {
      const auto end = number_at("/expires_on");
      if (end) life = *end - std::chrono::floor<seconds>(clock_.now()).time_since_epoch().count();
    }
    if (!life || *life < 0 || *life > longest) return std::nullopt;
    return seconds(*life);
  }

  const AzureSettings& settings_;
  HttpClient& http_;
  const Clock& clock_;
  FileSecret file_;
  std::optional<AzureChallenge> challenge_;
  bool answered_ = false;  // by what gives tokens
};

}  // namespace

std::optional<AzureChallenge> parse_azure_challenge(std::string_view header) {
  if (!header.starts_with("Bearer ")) return std::nullopt;
  const auto authorization = parameter(header, "authorization");
  auto resource = parameter(header, "resource");
  if (resource.empty()) {
    resource = parameter(header, "scope");
    if (resource.ends_with("/.default"))
      resource.remove_suffix(std::string_view("/.default").size());
  }
  while (resource.ends_with('/')) resource.remove_suffix(1);
  const auto path =
      authorization.substr(std::min(authorization.find("://") + 3, authorization.size()));
  const auto slash = path.find('/');
  if (slash == std::string_view::npos || host_of(resource).empty()) return std::nullopt;
  const auto tenant = path.substr(slash + 1, path.find('/', slash + 1) - slash - 1);
  if (tenant.empty()) return std::nullopt;
  return AzureChallenge{.tenant = std::string(tenant), .resource = std::string(resource)};
}

bool is_of_vault(std::string_view resource, std::string_view uri) {
  const auto vault = host_of(uri), service = host_of(resource);
  return is_loopback(vault) ||
         (!service.empty() && vault.size() > service.size() && vault.ends_with(service) &&
          vault[vault.size() - service.size() - 1] == '.');
}

CredentialCache<Token>::Origin azure_tokens(const AzureSettings& settings, HttpClient& http,
                                            const Clock& clock) {
  const auto tokens = std::make_shared<Tokens>(settings, http, clock);
  return {.what = "the Azure access token",
          .load =
              [tokens](const CallContext& call, const CredentialCache<Token>::Pointer& previous) {
                return tokens->load(call, previous != nullptr);
              },
          .has_changed = [tokens] { return tokens->has_changed(); }};
}

}  // namespace betrace::kms
