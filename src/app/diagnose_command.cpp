#include "app/diagnose_command.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <ranges>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "api/json_writer.h"
#include "app/admin_token.h"
#include "app/config_secrets.h"
#include "app/doctor_command.h"
#include "app/redaction.h"
#include "app/tar_gz.h"
#include "base/encoding.h"
#include "base/try.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

using std::chrono::seconds;

constexpr std::string_view folder = "betrace-kms-diagnostic";
constexpr std::streamoff log_bytes_max = 1 << 20;
constexpr unsigned patience_seconds = 15;  // for an answer of the service
// Secrets that the providers' own clients read from the environment.
constexpr std::array environment_secrets = {"AWS_SECRET_ACCESS_KEY",
                                            "AWS_SESSION_TOKEN",
                                            "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                            "ADMIN_TOKEN",
                                            "VAULT_TOKEN",
                                            "VAULT_SECRET_ID",
                                            "AZURE_CLIENT_SECRET",
                                            "AZURE_CLIENT_CERTIFICATE_PASSWORD"};

struct Part {
  std::string name, text;
  std::string trouble;  // why it is not what it should be
};

std::string error_json(std::string_view message) {
  JsonWriter out;
  out.begin_object().key("error").string(message).end_object();
  return std::string(out.text()) + '\n';
}

Part failed(std::string name, std::string trouble) {
  const bool json = name.ends_with(".json");
  auto text = json ? error_json(trouble) : trouble + '\n';
  return {.name = std::move(name), .text = std::move(text), .trouble = std::move(trouble)};
}

// --- what must not leave the machine -------------------------------------------------------------

void add_file(const std::string& path, Redaction& out) {
  std::vector<std::string> warnings;
  if (const auto content = read_secret_file(path, warnings)) out.add(*content);
}

// A master key is bytes, not a line.
void add_bytes(const std::string& path, Redaction& out) {
  std::ifstream file(path, std::ios::binary);
  SecretBytes bytes(32);
  if (file.read(reinterpret_cast<char*>(bytes.expose_mutable().data()), 32)) out.add(bytes);
}

// Of `name=value,name=value`, each value by itself, as it goes over the wire.
void add_header_values(const SecretBytes& list, Redaction& out) {
  for (const auto item : std::views::split(as_text(list.expose()), ',')) {
    const std::string_view pair(item);
    const auto value = percent_decode(pair.substr(std::min(pair.find('=') + 1, pair.size())));
    if (value) out.add(SecretBytes::copy_of(as_bytes(*value)));
  }
}

Redaction known_secrets(const CommandLine& line, const World& world, const Result<Config>& config) {
  Redaction out;
  for (const char* name : environment_secrets) {
    const auto value = world.environment(name);
    if (value) out.add(SecretBytes::copy_of(as_bytes(*value)));
  }
  if (!line.connection.token_file.empty()) add_file(line.connection.token_file, out);
  if (!config) return out;
  for (const auto& entry : config->entries()) {
    if (entry.value == "****") out.add(config->secret(entry.key));
  }
  add_header_values(config->secret("quarkus.otel.exporter.otlp.headers"), out);
  const std::filesystem::path data(config->text("betrace.kms.data-dir"));
  add_file(data / admin_token_file_name, out);
  add_bytes(config->text("betrace.kms.local.master-key-file"), out);
  return out;
}

// --- the parts -----------------------------------------------------------------------------------

Part configuration(const Result<Config>& config) {
  if (!config) return failed("config.txt", config.error().message);
  std::string text = fmt::format("# betrace-kms {}, effective configuration, secrets masked\n{}",
                                 version(), render_config(*config, false));
  for (const auto& warning : config->warnings()) text += "# warning: " + warning + '\n';
  return {.name = "config.txt", .text = std::move(text), .trouble = {}};
}

void add_answers(const CommandLine& line, const World& world, const LocalServiceReader& local,
                 std::vector<Part>& parts) {
  struct Question {
    const char *name, *method, *path;
  };
  constexpr std::array questions = {Question{"health.json", "GET", "/q/health/ready"},
                                    Question{"validation.json", "POST", "/api/admin/kms/validate"},
                                    Question{"status.json", "GET", "/api/admin/kms/status"},
                                    Question{"metrics.txt", "GET", "/q/metrics"}};
  auto connection = find_service(line.connection, world, local);
  std::string trouble = connection ? "" : connection.error().message;
  for (const auto& question : questions) {
    if (trouble.empty()) {
      const DaemonClient client(
          *connection, world.http_client(),
          seconds(line.connection.timeout_seconds.value_or(patience_seconds)));
      const auto answer = client.send(question.method, question.path);
      if (answer) {
        parts.push_back({.name = question.name, .text = std::string(answer->body), .trouble = {}});
        if (answer->status != 200) parts.back().trouble = fmt::format("HTTP {}", answer->status);
        continue;
      }
      trouble = answer.error().message;  // the others would wait as long
    }
    parts.push_back(failed(question.name, trouble));
  }
}

Part logs(const Result<Config>& config) {
  if (!config) return failed("logs.txt", "the configuration does not say where the log is");
  const auto path = config->text("quarkus.log.file.path");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    return failed("logs.txt", fmt::format("{} cannot be read (quarkus.log.file.enable={}); under "
                                          "systemd: journalctl -u betrace-kms -n 2000",
                                          path, config->flag("quarkus.log.file.enable")));
  }
  const std::streamoff size = file.tellg();
  const auto from = std::max<std::streamoff>(0, size - log_bytes_max);
  file.seekg(from);
  std::string text(static_cast<std::size_t>(size - from), '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (from > 0) text.erase(0, text.find('\n') + 1);  // half a line
  return {.name = "logs.txt", .text = std::move(text), .trouble = {}};
}

Part master_key(const DoctorFacts& facts) {
  const auto* key =
      facts.provider && facts.provider->probe.key ? &*facts.provider->probe.key : nullptr;
  if (key == nullptr) {
    std::string trouble = "the provider was not asked";
    for (const auto& call :
         facts.provider ? facts.provider->probe.calls : std::vector<ProbedCall>()) {
      if (call.operation == "describe_key" && call.error) trouble = call.error->message;
    }
    return failed("kms-key-info.json", trouble);
  }
  JsonWriter out;
  out.begin_object().key("keyId").string(key->key_id).key("state").string(key->state);
  out.key("usable").boolean(key->usable);
  if (key->deletion_at) out.key("deletionAt").time(*key->deletion_at);
  if (!key->alias.empty()) out.key("alias").string(key->alias);
  out.key("wrapsUnder").string(facts.provider->probe.wraps_under).end_object();
  return {.name = "kms-key-info.json", .text = std::string(out.text()) + '\n', .trouble = {}};
}

// What the policy lets us do, by doing it: reading it takes rights that the service should not
// have.
Part permissions(const DoctorFacts& facts) {
  if (!facts.provider || facts.provider->probe.calls.empty()) {
    return failed("iam-policy.json", "the provider was not asked");
  }
  JsonWriter out;
  out.begin_object().key("provider").string(facts.provider->probe.provider);
  out.key("calls").begin_object();
  for (const auto& call : facts.provider->probe.calls) {
    out.text_key(call.operation).string(call.error ? "FAIL: " + call.error->message : "PASS");
  }
  out.end_object().key("note").string(
      "These calls were made with the credentials of this command. The policy itself: aws iam "
      "get-role-policy --role-name betrace-backend-role --policy-name betrace-kms-access");
  out.end_object();
  return {.name = "iam-policy.json", .text = std::string(out.text()) + '\n', .trouble = {}};
}

// --- the file ------------------------------------------------------------------------------------

Status write_bundle(const std::string& file, const std::vector<Part>& parts, SystemTime now) {
  const auto modified = std::chrono::floor<seconds>(now.time_since_epoch());
  auto archive = TRY(TarGz::create(file));
  for (const auto& part : parts) {
    TRY(archive.add(fmt::format("{}/{}", folder, part.name), part.text, modified));
  }
  return archive.finish();
}

void print(const CommandLine& line, const World& world, const std::string& file,
           const std::vector<Part>& parts) {
  if (line.json) {
    JsonWriter out;
    out.begin_object().key("file").string(file).key("parts").begin_array();
    for (const auto& part : parts) {
      out.begin_object().key("name").string(part.name).key("trouble");
      part.trouble.empty() ? out.null() : out.string(part.trouble);
      out.end_object();
    }
    out.end_array().end_object();
    world.out << out.text() << '\n';
    return;
  }
  for (const auto& part : parts) {
    world.out << fmt::format("{:<20} {}\n", part.name,
                             part.trouble.empty() ? "ok" : printable(part.trouble));
  }
  world.out << fmt::format(
      "Diagnostic bundle created: {}\n"
      "Known secrets are taken out; look through it before you hand it on: "
      "tar -xzOf {} | less\n",
      file, file);
}

}  // namespace

ExitCode run_diagnose(const CommandLine& line, const World& world, const Result<Config>& config,
                      const LocalServiceReader& local) {
  const auto now = system_clock().now();
  std::vector<Part> parts;
  parts.push_back(configuration(config));
  add_answers(line, world, local, parts);
  parts.push_back(logs(config));
  const auto examination = examine(line, world, config, local);
  parts.push_back(master_key(examination.facts));
  parts.push_back(permissions(examination.facts));
  parts.push_back({.name = "doctor.txt", .text = doctor_text(examination, false), .trouble = {}});
  parts.push_back({.name = "doctor.json", .text = doctor_text(examination, true), .trouble = {}});

  const auto secrets = known_secrets(line, world, config);
  for (auto& part : parts) {
    part.text = secrets.apply(part.text);
    part.trouble = secrets.apply(part.trouble);
  }
  const auto file = line.bundle.empty() ? fmt::format("{}-{:%Y%m%d-%H%M%S}.tar.gz", folder,
                                                      std::chrono::floor<seconds>(now))
                                        : line.bundle;
  if (const auto written = write_bundle(file, parts, now); !written) {
    return complain(world, written.error().message, ExitCode::check_failed);
  }
  print(line, world, file, parts);
  return ExitCode::ok;
}

}  // namespace betrace::kms
