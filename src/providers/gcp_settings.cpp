#include "providers/gcp_settings.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/try.h"
#include "providers/addresses.h"

namespace betrace::kms {
namespace {

Result<std::string> name_setting(const Settings& settings, std::string_view key,
                                 std::string_view otherwise) {
  const auto name = settings(key).value_or(std::string(otherwise));
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == ':';
  };
  if (!name.empty() && name.size() <= 63 && std::ranges::all_of(name, fits)) return name;
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}='{}': accepted are 1 to 63 letters, digits and -_.:", key, name));
}

std::string variable(const ProviderEnvironment& environment, const char* name) {
  return environment.environment ? environment.environment(name).value_or("") : std::string();
}

std::string credentials_file(const ProviderEnvironment& environment) {
  if (auto set = environment.settings("gcp.kms.credentials-file")) return *std::move(set);
  auto file = variable(environment, "GOOGLE_APPLICATION_CREDENTIALS");
  if (!file.empty()) return file;
  const auto config = variable(environment, "CLOUDSDK_CONFIG");
  const auto home = variable(environment, "HOME");
  if (config.empty() && home.empty()) return {};
  file = (config.empty() ? home + "/.config/gcloud" : config) +
         "/application_default_credentials.json";
  std::error_code none;
  return std::filesystem::exists(file, none) ? file : std::string();
}

}  // namespace

std::string GcpSettings::location_name() const {
  return fmt::format("projects/{}/locations/{}", project, location);
}

std::string GcpSettings::key_name() const {
  return fmt::format("{}/keyRings/{}/cryptoKeys/{}", location_name(), key_ring, key);
}

Result<GcpSettings> read_gcp_settings(const ProviderEnvironment& environment) {
  const auto& settings = environment.settings;
  const auto project = variable(environment, "GOOGLE_CLOUD_PROJECT");
  if (!settings("gcp.kms.project-id") && project.empty()) {
    return fail(ErrorCode::invalid_argument,
                "gcp.kms.project-id is not set, and the gcp provider needs it: accepted is the id "
                "of a Google Cloud project");
  }
  GcpSettings out;
  out.project = TRY(name_setting(settings, "gcp.kms.project-id", project));
  out.location = TRY(name_setting(settings, "gcp.kms.location", "us-east1"));
  out.key_ring = TRY(name_setting(settings, "gcp.kms.keyring", "betrace-keyring"));
  out.key = TRY(name_setting(settings, "gcp.kms.key-name", "betrace-master-key"));
  out.url =
      TRY(checked_url("gcp.kms.endpoint",
                      settings("gcp.kms.endpoint").value_or("https://cloudkms.googleapis.com")));
  constexpr std::string_view file = "gcp.kms.credentials-file";
  TRY(readable_file(file, settings(file).value_or(""), "a file of Google's credentials"));
  out.credentials_file = credentials_file(environment);
  auto host = variable(environment, "GCE_METADATA_HOST");
  if (host.empty()) host = "metadata.google.internal";
  out.metadata_url = TRY(checked_url("GCE_METADATA_HOST", "http://" + host));
  if (shows_secrets(out.url)) {
    out.warnings.push_back(fmt::format(
        "{} is plain HTTP to another machine: data keys and tokens travel in the clear. Use "
        "https://",
        out.url));
  }
  return out;
}

}  // namespace betrace::kms
