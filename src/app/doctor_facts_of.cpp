#include "app/doctor_facts_of.h"

#include <filesystem>

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "app/admin_token.h"
#include "app/config_secrets.h"
#include "app/daemon_client.h"
#include "net/tls_certificate.h"
#include "providers/catalog.h"
#include "stores/schema_report.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

constexpr unsigned others = S_IRWXO, group_and_others = S_IRWXG | S_IRWXO;

std::string store_file(const Config& config) {
  const auto url = config.text("betrace.kms.store.url");
  constexpr std::string_view scheme = "sqlite:";
  return url.starts_with(scheme) ? absolute(url.substr(scheme.size())) : "";
}

struct Rule {
  std::string path;
  unsigned forbidden = others;
  unsigned wanted = 0600;
  bool token = false;
};

void check_mode(const Rule& rule, HostFacts& facts) {
  struct stat status{};
  if (rule.path.empty() || ::stat(rule.path.c_str(), &status) != 0) return;
  if ((status.st_mode & rule.forbidden) == 0) return;
  facts.open_files.push_back({.path = rule.path,
                              .mode = status.st_mode & 07777,
                              .wanted = rule.wanted,
                              .token = rule.token});
}

// A secret stands in the configuration file itself.
bool holds_secret(const Config& config) {
  for (const auto& entry : config.entries()) {
    const bool secret = entry.value == "****";
    if (secret && entry.source.starts_with(config.file_used() + ":")) return true;
  }
  return false;
}

void check_files(const Config& config, HostFacts& facts) {
  const fs::path data(absolute(config.text("betrace.kms.data-dir")));
  const auto local = config.text("betrace.kms.local.master-key-file");
  const auto key_file = config.text("quarkus.http.ssl.certificate.key-files");
  check_mode({.path = data.string(), .wanted = 0700}, facts);
  check_mode({.path = store_file(config)}, facts);
  check_mode({.path = local.empty() ? "" : (data / local).string(), .forbidden = group_and_others},
             facts);
  check_mode({.path = key_file.empty() ? "" : absolute(key_file), .wanted = 0640}, facts);
  check_mode({.path = (data / admin_token_file_name).string(),
              .forbidden = group_and_others,
              .token = true},
             facts);
  if (!config.file_used().empty() && holds_secret(config)) {
    check_mode({.path = absolute(config.file_used()), .wanted = 0640, .token = true}, facts);
  }
}

}  // namespace

std::string absolute(const std::string& path) {
  std::error_code error;
  const auto full = fs::absolute(path, error);
  return error ? path : full.lexically_normal().string();
}

ConfigFacts config_facts(const Config& config) {
  ConfigFacts facts{
      .provider = config.text("betrace.kms.provider"),
      .host = config.text("quarkus.http.host"),
      .providers_available = provider_names(),
      .private_key_ttl = std::chrono::minutes(config.integer("kms.cache.private-key-ttl-minutes")),
      .encryption_key_ttl =
          std::chrono::minutes(config.integer("kms.cache.encryption-key-ttl-minutes")),
      .cache_entries_max = static_cast<std::uint64_t>(config.integer("kms.cache.max-size")),
      .rotation_enabled = config.flag("kms.rotation.enabled"),
      .rotation_max_age = std::chrono::days(config.integer("kms.rotation.max-age-days")),
      .data_dir = absolute(config.text("betrace.kms.data-dir")),
      .log_file = absolute(config.text("quarkus.log.file.path"))};
  if (!config.file_used().empty()) facts.file = absolute(config.file_used());
  facts.beyond_loopback = !is_loopback_host(facts.host);
  facts.url =
      local_url({.host = facts.host,
                 .port = static_cast<std::uint16_t>(config.integer("quarkus.http.port")),
                 .ssl_port = static_cast<std::uint16_t>(config.integer("quarkus.http.ssl-port")),
                 .insecure_allowed = config.text("quarkus.http.insecure-requests") != "disabled"});
  for (const auto& warning : config.warnings()) {
    if (warning.starts_with(unknown_key_warning)) facts.unknown_keys.push_back(warning);
    if (warning.find(readable_secret_warning) != std::string::npos) {
      facts.open_secrets.push_back(warning);
    }
  }
  return facts;
}

HostFacts host_facts(const Config& config) {
  HostFacts facts;
  check_files(config, facts);
  auto folder = fs::path(store_file(config)).parent_path().string();
  if (folder.empty()) folder = absolute(config.text("betrace.kms.data-dir"));
  struct statvfs disk{};
  if (::statvfs(folder.c_str(), &disk) == 0) {
    facts.disk = {.path = folder,
                  .free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize};
  }
  if (const auto file = config.text("quarkus.http.ssl.certificate.files"); !file.empty()) {
    const auto end = certificate_end(file);
    facts.certificate =
        HostFacts::Certificate{.file = absolute(file),
                               .expires_at = end ? std::optional(*end) : std::nullopt,
                               .error = end ? "" : end.error().message};
  }
  return facts;
}

std::optional<HostFacts::Schema> schema_facts(const Config& config) {
  const auto file = store_file(config);
  if (file.empty()) return std::nullopt;
  const auto report = read_schema(file);
  if (!report) {
    if (report.error().code == ErrorCode::not_found) return std::nullopt;
    return HostFacts::Schema{.file = file, .error = report.error().message};
  }
  if (!report->exact && report->version <= report->newest) return std::nullopt;
  return HostFacts::Schema{.file = file, .version = report->version, .newest = report->newest};
}

}  // namespace betrace::kms
