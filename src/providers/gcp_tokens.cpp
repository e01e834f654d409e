#include "providers/gcp_tokens.h"

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/jwt.h"
#include "base/try.h"
#include "providers/addresses.h"
#include "providers/exchange.h"
#include "providers/file_secret.h"
#include "providers/gcp_aws_subject.h"
#include "providers/json_answer.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

constexpr std::string_view scope = "https://www.googleapis.com/auth/cloud-platform";
constexpr seconds lifetime{3600};

std::string json_text(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

void add(std::string_view name, std::string_view value, WipedString& form) {
  form += fmt::format("{}{}=", form.empty() ? "" : "&", name);
  form += percent_encode(value);
}

class Tokens {
 public:
  Tokens(const GcpSettings& settings, const ProviderEnvironment& environment)
      : settings_(settings),
        http_(environment.http),
        clock_(environment.clock),
        aws_(environment),
        file_("Google credentials", settings.credentials_file) {}

  Result<Token> load(const CallContext& call) {
    if (settings_.credentials_file.empty()) return of_metadata(call);
    const auto content = TRY(file_.read());
    const auto file = JsonAnswer::parse(content);
    if (!file) return unusable("it is not a JSON object");
    return of_file(call, *file, "");
  }
  bool has_changed() const { return !settings_.credentials_file.empty() && file_.has_changed(); }

 private:
  std::unexpected<Error> unusable(std::string_view why) const {
    return fail(ErrorCode::kms_access_denied,
                fmt::format("Google credentials={}: {}", settings_.credentials_file, why));
  }

  Result<std::string> field(const JsonAnswer& file, const std::string& pointer) const {
    const auto text = file.text(pointer);
    if (text && !text->empty()) return std::string(*text);
    return unusable(fmt::format("{} is missing", pointer.substr(1)));
  }
  // An address of the file; tokens go to https, or nowhere else than this machine.
  Result<std::string> address(const JsonAnswer& file, const std::string& pointer,
                              std::string_view otherwise = {}) const {
    auto url = std::string(file.text(pointer).value_or(otherwise));
    if (url.empty()) return unusable(fmt::format("{} is missing", pointer.substr(1)));
    const auto checked = checked_url(pointer.substr(1), url);
    if (checked && !shows_secrets(*checked)) return url;
    return unusable(fmt::format("{} is accepted with https:// only", pointer.substr(1)));
  }

  // Of the credentials at `at` of the file.
  Result<Token> of_file(const CallContext& call, const JsonAnswer& file, const std::string& at) {
    const auto type = TRY(field(file, at + "/type"));
    if (type == "service_account") return of_service_account(call, file, at);
    if (type == "authorized_user") return of_user(call, file, at);
    if (type == "external_account") return of_workload(call, file, at);
    // One level deep, as Google's libraries have it.
    if (type == "impersonated_service_account" && at.empty()) {
      const auto source = TRY(of_file(call, file, "/source_credentials"));
      return impersonated(call, TRY(address(file, "/service_account_impersonation_url")), source);
    }
    return unusable(
        fmt::format("its type is '{}'; accepted are service_account, authorized_user, "
                    "external_account and impersonated_service_account",
                    type));
  }

  // RFC 7523, section 2.1.
  Result<Token> of_service_account(const CallContext& call, const JsonAnswer& file,
                                   const std::string& at) {
    const auto url = TRY(address(file, at + "/token_uri", "https://oauth2.googleapis.com/token"));
    const auto now = std::chrono::floor<seconds>(clock_.now()).time_since_epoch();
    const auto key = file.text(at + "/private_key");
    if (!key) return unusable("private_key is missing");
    const auto header = fmt::format(R"({{"alg":"RS256","typ":"JWT","kid":{}}})",
                                    json_text(file.text(at + "/private_key_id").value_or("")));
    const auto claims = fmt::format(R"({{"iss":{},"scope":"{}","aud":{},"iat":{},"exp":{}}})",
                                    json_text(TRY(field(file, at + "/client_email"))), scope,
                                    json_text(url), now.count(), (now + lifetime).count());
    const auto assertion = sign_jwt(header, claims, WipedString(*key));
    if (!assertion) return unusable(assertion.error().message);
    WipedString form;
    add("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", form);
    add("assertion", *assertion, form);
    return token_of(TRY(post_form(call, url, std::move(form))), url);
  }

  Result<Token> of_user(const CallContext& call, const JsonAnswer& file, const std::string& at) {
    const auto url = TRY(address(file, at + "/token_uri", "https://oauth2.googleapis.com/token"));
    WipedString form;
    add("grant_type", "refresh_token", form);
    for (const auto* name : {"client_id", "client_secret", "refresh_token"}) {
      add(name, TRY(field(file, fmt::format("{}/{}", at, name))), form);
    }
    return token_of(TRY(post_form(call, url, std::move(form))), url);
  }

  // RFC 8693, as google.aip.dev/auth/4117 has it.
  Result<Token> of_workload(const CallContext& call, const JsonAnswer& file,
                            const std::string& at) {
    const auto url = TRY(address(file, at + "/token_url"));
    WipedString form;
    add("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange", form);
    add("audience", TRY(field(file, at + "/audience")), form);
    add("scope", scope, form);
    add("requested_token_type", "urn:ietf:params:oauth:token-type:access_token", form);
    add("subject_token_type", TRY(field(file, at + "/subject_token_type")), form);
    const auto source = at + "/credential_source";
    const bool in_aws = file.text(source + "/environment_id").value_or("").starts_with("aws");
    add("subject_token",
        in_aws ? TRY(aws_.token(call, TRY(field(file, source + "/regional_cred_verification_url")),
                                TRY(field(file, at + "/audience"))))
               : TRY(subject_token(call, file, source)),
        form);
    const auto token = TRY(token_of(TRY(post_form(call, url, std::move(form))), url));
    const auto pointer = at + "/service_account_impersonation_url";
    if (!file.text(pointer)) return token;
    return impersonated(call, TRY(address(file, pointer)), token);
  }

  // Of a file, or of an address, as text or as a field of JSON.
  Result<WipedString> subject_token(const CallContext& call, const JsonAnswer& file,
                                    const std::string& at) {
    WipedString content;
    if (const auto path = file.text(at + "/file")) {
      content = TRY(FileSecret("credential_source.file", std::string(*path)).read());
    } else if (const auto url = file.text(at + "/url")) {
      HttpCall request{.url = std::string(*url)};
      // The headers that such sources ask for: Metadata, Metadata-Flavor, Authorization.
      for (const auto* name : {"Metadata", "Metadata-Flavor", "Authorization"}) {
        if (const auto value = file.text(fmt::format("{}/headers/{}", at, name))) {
          request.headers.emplace_back(name, *value);
        }
      }
      content = TRY(ask(call, std::move(request), "read the subject token")).body;
    } else {
      return unusable(
          "credential_source has neither file, url nor environment_id (aws1); other sources, "
          "executable and certificate, are not accepted");
    }
    if (file.text(at + "/format/type").value_or("text") != "json") return content;
    const auto json = JsonAnswer::parse(content);
    const auto name = TRY(field(file, at + "/format/subject_token_field_name"));
    const auto text = json ? json->text("/" + name) : std::nullopt;
    if (!text) return unusable(fmt::format("the subject token has no field {}", name));
    return WipedString(*text);
  }

  // https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts
  Result<Token> impersonated(const CallContext& call, const std::string& url, const Token& by) {
    HttpCall request{.method = "POST", .url = url};
    request.headers = {{"Content-Type", "application/json"},
                       {"Authorization", fmt::format("Bearer {}", std::string_view(by.value))}};
    request.body =
        WipedString(fmt::format(R"({{"scope":["{}"],"lifetime":"{}s"}})", scope, lifetime.count()));
    const auto answer = TRY(ask(call, std::move(request), "impersonate the service account"));
    const auto json = JsonAnswer::parse(answer.body);
    const auto token = json ? json->text("/accessToken") : std::nullopt;
    const auto expires = json ? json->text("/expireTime") : std::nullopt;
    const auto at = expires ? parse_utc_time(*expires) : std::nullopt;
    if (!token || token->empty() || !at) return strange(url);
    return Token{.value = WipedString(*token), .expires_at = at, .obtained_at = clock_.now()};
  }

  Result<Token> of_metadata(const CallContext& call) {
    const auto url =
        settings_.metadata_url +
        "/computeMetadata/v1/instance/service-accounts/default/token?scopes=" + std::string(scope);
    HttpCall request{.url = url};
    request.headers = {{"Metadata-Flavor", "Google"}};
    auto answer = ask(call, std::move(request), "get a token of the metadata server");
    if (!answer && met_metadata_) return std::unexpected(std::move(answer).error());
    if (!answer) {
      answer.error().code = ErrorCode::kms_access_denied;
      answer.error().message = fmt::format(
          "no Google credentials found: neither gcp.kms.credentials-file, "
          "GOOGLE_APPLICATION_CREDENTIALS nor gcloud's file, and {}",
          answer.error().message);
      return std::unexpected(std::move(answer).error());
    }
    // Whoever answers a name that is not there is no metadata server.
    if (answer->header("metadata-flavor") != "Google") return strange(settings_.metadata_url);
    met_metadata_ = true;
    return token_of(*answer, settings_.metadata_url);
  }

  Result<HttpAnswer> post_form(const CallContext& call, const std::string& url, WipedString form) {
    HttpCall request{.method = "POST", .url = url, .body = std::move(form)};
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}};
    return ask(call, std::move(request), "get a token of Google");
  }

  Result<HttpAnswer> ask(const CallContext& call, HttpCall request, std::string purpose) {
    const auto url = request.url;
    auto answer =
        exchange(http_, clock_, call, std::move(request),
                 {.purpose = purpose, .what = "Google credentials", .log = log_category::kms});
    if (!answer || answer->status == 200) return answer;
    const auto json = JsonAnswer::parse(answer->body);
    auto words = json ? json->text("/error_description") : std::nullopt;
    if (json && !words) words = json->text("/error/message");
    if (json && !words) words = json->text("/error");
    const bool down = answer->status >= 500 || answer->status == 429;
    return fail(down ? ErrorCode::kms_unavailable : ErrorCode::kms_access_denied,
                fmt::format("Failed to {}: {}: HTTP {}{}{}", purpose, url, answer->status,
                            words ? ", " : "", words.value_or("")));
  }

  Result<Token> token_of(const HttpAnswer& answer, const std::string& url) const {
    const auto json = JsonAnswer::parse(answer.body);
    const auto token = json ? json->text("/access_token") : std::nullopt;
    const auto life = json ? json->number("/expires_in") : std::nullopt;
    if (!token || token->empty() || !life || *life < 0 || *life > 1e6) return strange(url);
    const auto now = clock_.now();
    return Token{.value = WipedString(*token),
                 .expires_at = now + seconds(static_cast<std::int64_t>(*life)),
                 .obtained_at = now};
  }

  static std::unexpected<Error> strange(const std::string& url) {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("Failed to get a token: {} answered something that is none", url));
  }

  const GcpSettings& settings_;
  HttpClient& http_;
  const Clock& clock_;
  GcpAwsSubject aws_;
  FileSecret file_;
  bool met_metadata_ = false;  // there is one, so that its silence is an outage
};

}  // namespace

CredentialCache<Token>::Origin gcp_tokens(const GcpSettings& settings,
                                          const ProviderEnvironment& environment) {
  const auto tokens = std::make_shared<Tokens>(settings, environment);
  return {.what = "the Google access token",
          .load = [tokens](const CallContext& call,
                           const CredentialCache<Token>::Pointer&) { return tokens->load(call); },
          .has_changed = [tokens] { return tokens->has_changed(); }};
}

}  // namespace betrace::kms
