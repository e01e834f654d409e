#include "app/command_tree.h"

#include <array>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "telemetry/version.h"

namespace betrace::kms {
namespace {

constexpr std::array<std::string_view, 10> later = {
    "doctor", "diagnose", "revoke", "rewrap",   "migrate",
    "backup", "restore",  "check",  "evidence", "verify-evidence"};

class Tree {
 public:
  Tree(CLI::App& app, CommandValues& values) : app_(app), values_(values), line_(values.line) {}

  void build() {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "betrace-kms " + std::string(version()));
    add_configuration(app_);
    app_.footer(
        "Exit codes: 0 ok, 1 the check failed, 2 usage or configuration, 3 the service cannot be "
        "reached.\nThe manual page of a command: betrace-kms COMMAND --help");
    add_service_commands();
    add_tenant_commands();
    add_key_commands();
    add_local_commands();
    for (const auto name : later) {
      auto* command = app_.add_subcommand(std::string(name), "Not in this release yet");
      command->group("Not in this release yet")->prefix_command();
    }
  }

 private:
  CLI::App& command(CLI::App& parent, const std::string& name, const std::string& what,
                    const std::string& example) {
    auto* made = parent.add_subcommand(name, what);
    made->footer("Example: " + example);
    add_configuration(*made);
    return *made;
  }

  void add_configuration(CLI::App& app) {
    app.add_option("--config", line_.config_file,
                   "Configuration file, instead of the first application.properties found")
        ->type_name("FILE")
        ->group("Configuration");
    // The option exists on every level, so each adds to what the others found.
    app.add_option_function<std::vector<std::string>>(
           "-D",
           [&into = values_.definitions](const std::vector<std::string>& given) {
             into.insert(into.end(), given.begin(), given.end());
           },
           "Set one configuration key: -Dname=value")
        ->type_name("NAME=VALUE")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->group("Configuration");
  }

  CLI::App& client(CLI::App& parent, const std::string& name, const std::string& what,
                   const std::string& example) {
    auto& made = command(parent, name, what, example);
    auto& connection = line_.connection;
    const char* group = "Finding the service";
    made.add_option("--url", connection.url,
                    "Address of the service; else BETRACE_KMS_URL, else as configured")
        ->type_name("URL")
        ->group(group);
    made.add_option("--token-file", connection.token_file,
                    "File with the admin token; else ADMIN_TOKEN, else as configured")
        ->type_name("FILE")
        ->group(group);
    made.add_option("--ca-file", connection.ca_file,
                    "PEM file that the service's certificate is checked against")
        ->type_name("FILE")
        ->group(group);
    made.add_option("--timeout", connection.timeout_seconds, "Seconds to wait for an answer")
        ->type_name("SECONDS")
        ->check(CLI::Range(1U, 3600U))
        ->capture_default_str()
        ->group(group);
    made.add_flag("--json", line_.json, "Print the service's answer as it is");
    return made;
  }

  void add_tenant(CLI::App& app, bool required) {
    app.add_option("-t,--tenant", line_.tenant, "The tenant whose keys are used")
        ->type_name("ID")
        ->required(required);
  }
  void add_file(CLI::App& app, const std::string& what) {
    app.add_option("file", line_.file, what + "; - is standard input")
        ->type_name("FILE")
        ->capture_default_str();
  }
  void add_context(CLI::App& app) {
    app.add_option("-c,--context", values_.context,
                   "Encryption context, name=value; repeat for more pairs")
        ->type_name("NAME=VALUE")
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }

  void add_service_commands() {
    command(app_, "serve", "Run the service", "betrace-kms serve -Dquarkus.http.port=8081");
    client(app_, "status", "What the service reports about itself", "betrace-kms status --json");
    auto& health = client(app_, "health", "Whether the service is up", "betrace-kms health ready");
    health.add_option("group", line_.group, "One group of checks: live, ready, started, serving")
        ->check(CLI::IsMember({"live", "ready", "started", "serving"}));
    client(app_, "validate", "Have the service test the master key's provider",
           "betrace-kms validate");
  }

  void add_tenant_commands() {
    auto& tenants = command(app_, "tenants", "List, create and show tenants",
                            "betrace-kms tenants create acme");
    tenants.require_subcommand(1);
    auto& list = client(tenants, "list", "The ids of all tenants, in order",
                        "betrace-kms tenants list --limit 10");
    list.add_option("--after", line_.after, "Begin after this id")->type_name("ID");
    list.add_option("--limit", line_.limit, "At most so many; all when not given")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    auto& create = client(tenants, "create", "Create a tenant and its keys",
                          "betrace-kms tenants create acme");
    create.add_option("id", line_.tenant, "The new tenant: [A-Za-z0-9._:-], at most 128")
        ->type_name("ID")
        ->required();
    auto& show = client(tenants, "show", "A tenant's key versions and their states",
                        "betrace-kms tenants show acme --json");
    show.add_option("id", line_.tenant, "The tenant")->type_name("ID")->required();
  }

  void add_key_commands() {
    auto& sign = client(app_, "sign", "Sign a file or standard input, print the signature",
                        "betrace-kms sign --tenant acme report.pdf > report.sig");
    add_tenant(sign, true);
    add_file(sign, "What to sign");
    sign.add_flag("--raw", line_.raw, "Print the 64 bytes instead of base64")->excludes("--json");

    auto& verify = client(app_, "verify", "Verify a signature; exit code 1 when it is invalid",
                          "betrace-kms verify --tenant acme --signature @report.sig report.pdf");
    add_tenant(verify, true);
    add_file(verify, "What was signed");
    verify
        .add_option("-s,--signature", line_.signature, "Base64, or @FILE (base64 or 64 raw bytes)")
        ->type_name("B64|@FILE")
        ->required();
    auto* key_id = verify.add_option("--key-id", line_.key_id, "Only this key")->type_name("ID");
    verify.add_option("--version", line_.version, "Only this key version")
        ->type_name("N")
        ->check(CLI::PositiveNumber)
        ->excludes(key_id);

    auto& encrypt = client(app_, "encrypt", "Encrypt a file or standard input",
                           "betrace-kms encrypt --tenant acme -c user=42 card.txt > card.enc");
    add_tenant(encrypt, true);
    add_file(encrypt, "The plaintext");
    add_context(encrypt);

    auto& decrypt = client(app_, "decrypt", "Decrypt; writes the plaintext's bytes as they are",
                           "betrace-kms decrypt --tenant acme -c user=42 card.enc");
    add_tenant(decrypt, true);
    add_file(decrypt, "The ciphertext, betrace:v1:…");
    add_context(decrypt);
    decrypt.add_flag("--base64", line_.base64, "Print the plaintext as base64")->excludes("--json");

    auto& rotate = client(app_, "rotate", "Give a tenant new versions of both keys",
                          "betrace-kms rotate --tenant acme");
    add_tenant(rotate, true);

    auto& keys = client(app_, "public-keys", "Public keys of a tenant, or of the service itself",
                        "betrace-kms public-keys --tenant acme --pem > acme.pem");
    add_tenant(keys, false);
    auto* pem = keys.add_flag("--pem", line_.pem, "PEM blocks only")->excludes("--json");
    keys.add_flag("--jwks", line_.jwks, "A JSON Web Key Set")->excludes(pem);
  }

  void add_local_commands() {
    auto& config = command(app_, "config", "The effective configuration and where it comes from",
                           "betrace-kms config -Dkms.cache.max-size=2000");
    config.add_flag("--json", line_.json, "Print it as JSON");
    auto& version = command(app_, "version", "Print the version", "betrace-kms version");
    version.add_flag("--json", line_.json, "Print it as JSON");
    auto& completion = command(app_, "completion", "Print a completion script for a shell",
                               "betrace-kms completion bash > /etc/bash_completion.d/betrace-kms");
    completion.add_option("shell", line_.shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  }

  CLI::App& app_;
  CommandValues& values_;
  CommandLine& line_;
};

}  // namespace

std::shared_ptr<CLI::App> make_command_tree(CommandValues& values) {
  auto app = std::make_shared<CLI::App>(
      "BeTrace KMS: tenant keys for compliance evidence and personal data", "betrace-kms");
  Tree(*app, values).build();
  return app;
}

std::span<const std::string_view> later_commands() { return later; }

}  // namespace betrace::kms
