#include "providers/vault_settings.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.h"
#include "providers/addresses.h"
#include "providers/file_secret.h"

namespace betrace::kms {
namespace {

constexpr std::string_view service_account_token =
    "/var/run/secrets/kubernetes.io/serviceaccount/token";

std::string without_slashes(std::string_view text) {
  while (text.starts_with('/')) text.remove_prefix(1);
  while (text.ends_with('/')) text.remove_suffix(1);
  return std::string(text);
}

bool made_of(std::string_view text, std::string_view others) {
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.contains(c);
  });
}

Result<std::string> path_setting(const Settings& settings, std::string_view key,
                                 std::string_view otherwise, std::string_view others) {
  const auto text = without_slashes(settings(key).value_or(std::string(otherwise)));
  const bool walks = text.find("..") != std::string::npos || text.find("//") != std::string::npos;
  if (made_of(text, others) && !walks) return text;
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}='{}': accepted are letters, digits and {}", key, text, others));
}

std::string text_of(const Settings& settings, std::string_view key) {
  return settings(key).value_or("");
}

Result<std::string> file_setting(const Settings& settings, std::string_view key) {
  return readable_file(key, text_of(settings, key), "a PEM file");
}

WipedString secret_of(const Settings& settings, std::string_view key) {
  auto text = text_of(settings, key);
  WipedString secret(text);
  wipe(text.data(), text.size());
  return secret;
}

// The file that a secret was read from; empty where the secret was set by itself as well, which
// wins.
std::string file_behind(const Settings& settings, std::string_view key, const WipedString& secret) {
  auto path = text_of(settings, key);
  if (path.empty() || secret.empty()) return path;
  const auto content = FileSecret(std::string(key), path).read();
  return content && *content == secret ? path : std::string();
}

struct Method {
  VaultLogin login;
  std::string_view name;     // the value of vault.auth.method, and where it is mounted by default
  std::string_view setting;  // that asks for it
};
constexpr Method methods[] = {
    {VaultLogin::token, "token", "vault.token"},
    {VaultLogin::approle, "approle", "vault.role-id"},
    {VaultLogin::kubernetes, "kubernetes", "vault.k8s.role"},
    {VaultLogin::certificate, "cert", "vault.client-certificate"},
};

bool asks_for(const Settings& settings, const Method& method) {
  const auto file = std::string(method.setting) + "-file";
  return settings(method.setting) || settings(file);
}

Result<const Method*> chosen_method(const Settings& settings) {
  if (const auto name = settings("vault.auth.method")) {
    const auto* found = std::ranges::find(methods, *name, &Method::name);
    if (found != std::end(methods)) return found;
    return fail(ErrorCode::invalid_argument,
                fmt::format("vault.auth.method='{}': accepted are token, approle, kubernetes, cert",
                            *name));
  }
  std::vector<const Method*> asked;
  for (const auto& each : methods) {
    // A client certificate may go along with any of the others.
    const bool others = !asked.empty() && each.login == VaultLogin::certificate;
    if (!others && asks_for(settings, each)) asked.push_back(&each);
  }
  if (asked.size() == 1) return asked.front();
  if (asked.empty()) {
    return fail(ErrorCode::invalid_argument,
                "the vault provider has nothing to log in with: set one of vault.token, "
                "vault.token-file, vault.role-id with vault.secret-id, vault.k8s.role, or "
                "vault.client-certificate with vault.client-key");
  }
  std::vector<std::string_view> names;
  for (const auto* each : asked) names.push_back(each->setting);
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} are set, and one log-in is accepted: leave one, or choose by "
                          "vault.auth.method",
                          fmt::join(names, " and ")));
}

Status read_login(const Settings& settings, VaultSettings& out) {
  const auto* method = TRY(chosen_method(settings));
  out.login = method->login;
  out.auth_mount = TRY(path_setting(settings, "vault.auth.mount", method->name, "-_./"));
  switch (out.login) {
    case VaultLogin::token:
      out.token = secret_of(settings, "vault.token");
      out.token_file = file_behind(settings, "vault.token-file", out.token);
      break;
    case VaultLogin::approle:
      out.role = text_of(settings, "vault.role-id");
      out.secret_id = secret_of(settings, "vault.secret-id");
      out.secret_id_file = file_behind(settings, "vault.secret-id-file", out.secret_id);
      break;
    case VaultLogin::kubernetes:
      out.role = text_of(settings, "vault.k8s.role");
      out.jwt_file = settings("vault.k8s.token-file").value_or(std::string(service_account_token));
      break;
    case VaultLogin::certificate:
      out.role = text_of(settings, "vault.cert.role");
      break;
  }
  const bool needs_role = out.login == VaultLogin::approle || out.login == VaultLogin::kubernetes;
  const bool lacks_token =
      out.login == VaultLogin::token && out.token.empty() && out.token_file.empty();
  if ((!needs_role || !out.role.empty()) && !lacks_token) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("vault.auth.method={} needs {}", method->name, method->setting));
}

}  // namespace

std::string VaultSettings::master_key_id() const {
  return fmt::format("{}{}{}{}{}/{}", cluster, cluster.empty() ? "" : ":", name_space,
                     name_space.empty() ? "" : "/", mount, key);
}

Result<VaultSettings> read_vault_settings(const ProviderEnvironment& environment) {
  const auto& settings = environment.settings;
  VaultSettings out;
  out.address =
      TRY(checked_url("vault.addr", settings("vault.addr").value_or("http://localhost:8200")));
  out.mount = TRY(path_setting(settings, "vault.transit.mount", "transit", "-_./"));
  out.key = TRY(path_setting(settings, "vault.transit.key-name", "betrace-master-key", "-_."));
  if (settings("vault.namespace")) {
    out.name_space = TRY(path_setting(settings, "vault.namespace", "", "-_./"));
  }
  if (settings("vault.cluster"))
    out.cluster = TRY(path_setting(settings, "vault.cluster", "", "-_."));
  out.ca_file = TRY(file_setting(settings, "vault.ca-file"));
  out.certificate = TRY(file_setting(settings, "vault.client-certificate"));
  out.cert_key = TRY(file_setting(settings, "vault.client-key"));
  if (out.certificate.empty() != out.cert_key.empty()) {
    return fail(ErrorCode::invalid_argument,
                "vault.client-certificate and vault.client-key are accepted together only");
  }
  TRY(read_login(settings, out));
  if (out.login == VaultLogin::certificate && out.certificate.empty()) {
    return fail(ErrorCode::invalid_argument,
                "vault.auth.method=cert needs vault.client-certificate and vault.client-key");
  }
  if (shows_secrets(out.address)) {
    out.warnings.push_back(
        fmt::format("{} is plain HTTP to another machine: data keys and tokens travel in the "
                    "clear. Use https://",
                    out.address));
  }
  return out;
}

}  // namespace betrace::kms
