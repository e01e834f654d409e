#include "app/command_tree.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include "telemetry/version.h"

namespace betrace::kms {
namespace {

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
    add_lifecycle_commands();
    add_rotation_commands();
    add_evidence_commands();
    add_store_commands();
    add_local_commands();
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
    made.add_option("--timeout", connection.timeout_seconds,
                    "Seconds to wait for an answer: 30; 150 to revoke and to destroy, which every "
                    "daemon on the store acknowledges")
        ->type_name("SECONDS")
        ->check(CLI::Range(1U, 7200U))
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

  void add_allow_revoked(CLI::App& app) {
    app.add_flag("--allow-revoked", line_.allow_revoked,
                 "Also what a revoked key version encrypted");
  }

  void add_service_commands() {
    command(app_, "serve", "Run the service", "betrace-kms serve -Dquarkus.http.port=8081");
    client(app_, "status", "What the service reports about itself", "betrace-kms status --json");
    auto& health = client(app_, "health", "Whether the service is up", "betrace-kms health ready");
    health.add_option("group", line_.group, "One group of checks: live, ready, started, serving")
        ->check(CLI::IsMember({"live", "ready", "started", "serving"}));
    client(app_, "validate", "Have the service test the master key's provider",
           "betrace-kms validate");
    client(app_, "doctor",
           "What is wrong, with evidence, cause and remedy: asks the provider live, and the "
           "service where it answers; exit code 1 when something critical or a warning was found",
           "betrace-kms doctor --json");
    auto& diagnose = client(
        app_, "diagnose",
        "Collect configuration, health, validation, status, metrics, log and doctor's report "
        "in one file for whoever helps; secrets are taken out",
        "betrace-kms diagnose -o /tmp/kms.tar.gz");
    diagnose
        .add_option("-o,--output", line_.bundle,
                    "The new file; betrace-kms-diagnostic-TIME.tar.gz when not given")
        ->type_name("FILE");
  }

  void add_tenant_commands() {
    auto& tenants = command(app_, "tenants", "List, create, show and destroy tenants",
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
    auto& destroy =
        client(tenants, "destroy",
               "Destroy all keys of a tenant: nothing encrypted for it can be decrypted "
               "again; its public keys stay",
               "betrace-kms tenants destroy acme --confirm acme --certificate acme.json");
    destroy.add_option("id", line_.tenant, "The tenant")->type_name("ID")->required();
    destroy.add_option("--confirm", line_.confirm, "The tenant's id once more")
        ->type_name("ID")
        ->required();
    destroy
        .add_option("--certificate", line_.certificate,
                    "Write the signed certificate of destruction (a DSSE envelope) into this file")
        ->type_name("FILE");
  }

  void add_key_commands() {
    auto& sign = client(app_, "sign", "Sign a file or standard input, print the signature",
                        "betrace-kms sign --tenant acme report.pdf > report.sig");
    add_tenant(sign, true);
    add_file(sign, "What to sign");
    sign.add_flag("--raw", line_.raw, "Print the 64 bytes instead of base64")->excludes("--json");

    auto& verify =
        client(app_, "verify",
               "Verify a signature; exit code 1 when it is invalid, or valid by a key that "
               "is revoked and therefore not trusted",
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
    add_allow_revoked(decrypt);

    auto& rewrap = client(app_, "rewrap", "Encrypt a ciphertext again under the active key version",
                          "betrace-kms rewrap --tenant acme -c user=42 card.enc > card.new");
    add_tenant(rewrap, true);
    add_file(rewrap, "The ciphertext, betrace:v1:…");
    add_context(rewrap);
    add_allow_revoked(rewrap);

    auto& keys = client(app_, "public-keys", "Public keys of a tenant, or of the service itself",
                        "betrace-kms public-keys --tenant acme --pem > acme.pem");
    add_tenant(keys, false);
    auto* pem = keys.add_flag("--pem", line_.pem, "PEM blocks only")->excludes("--json");
    keys.add_flag("--jwks", line_.jwks, "A JSON Web Key Set")->excludes(pem);
  }

  // Which key version of the tenant.
  void add_key_choice(CLI::App& app) {
    auto* key_id =
        app.add_option("--key-id", line_.key_id, "The key version's id")->type_name("ID");
    app.add_option("--version", line_.version, "Its number, with --type, instead of the id")
        ->type_name("N")
        ->check(CLI::PositiveNumber)
        ->excludes(key_id);
    app.add_option("--type", line_.key_type, "signing or encryption")
        ->type_name("TYPE")
        ->check(CLI::IsMember({"signing", "encryption"}))
        ->excludes(key_id);
  }

  void add_lifecycle_commands() {
    auto& keys = command(app_, "keys", "List and destroy key versions of a tenant",
                         "betrace-kms keys list --tenant acme");
    keys.require_subcommand(1);
    auto& list = client(keys, "list", "Key versions of a tenant and their states",
                        "betrace-kms keys list --tenant acme");
    add_tenant(list, true);
    auto& destroy = client(keys, "destroy",
                           "Destroy the secret of one key version that is not active; a signing "
                           "key's public half stays",
                           "betrace-kms keys destroy --tenant acme --type encryption --version 1 "
                           "--unused --yes");
    add_tenant(destroy, true);
    add_key_choice(destroy);
    destroy.add_flag("--unused", line_.unused,
                     "Nothing needs it any more: destroy an encryption key however young it is");
    destroy.add_flag("--yes", line_.yes, "Destroy it; without this nothing is done");

    auto& revoke = client(app_, "revoke",
                          "Revoke a key version: what it signed is no longer trusted; an active "
                          "one gets a successor first",
                          "betrace-kms revoke --tenant acme --type signing --version 3 "
                          "--reason 'laptop lost'");
    add_tenant(revoke, true);
    add_key_choice(revoke);
    revoke
        .add_option("--reason", line_.reason,
                    "Why, in one line; shown to everybody who may read public keys")
        ->type_name("TEXT")
        ->required();
  }

  void add_rotation_commands() {
    auto& rotate = client(app_, "rotate",
                          "Give a tenant, or all whose keys are due, new versions of both keys; "
                          "exit code 1 when a tenant failed",
                          "betrace-kms rotate --all --dry-run");
    add_tenant(rotate, false);
    rotate.add_flag("--all", line_.all, "Every tenant with a key over the age bound")
        ->excludes("--tenant");
    rotate.add_flag("--force", line_.force, "With --all: every tenant, however young its keys");
    rotate.add_option("--stagger-ms", line_.stagger_ms, "With --all: pause between two tenants")
        ->type_name("N")
        ->check(CLI::Range(0U, 3'600'000U));
    rotate.add_flag("--dry-run", line_.dry_run, "With --all: list what is due, change nothing");
    rotate.add_flag("--no-wait", line_.no_wait, "With --all: begin it and do not wait for its end")
        ->excludes("--dry-run");

    auto& migrate = client(app_, "migrate",
                           "Move all keys to the current provider's master key, while the service "
                           "goes on; exit code 1 when a key could not be moved",
                           "betrace-kms migrate --dry-run");
    migrate.add_flag("--dry-run", line_.dry_run, "Show which master key holds how many keys");
    migrate.add_flag("--no-wait", line_.no_wait, "Begin it and do not wait for its end")
        ->excludes("--dry-run");

    auto& report = client(app_, "rotation-report",
                          "What was rotated in a period, what failed and what is overdue",
                          "betrace-kms rotation-report --from 2025-10-01 --to 2025-10-31 "
                          "-o october.pdf");
    report.add_option("--from", line_.from, "First day or RFC 3339 time; 90 days before the end")
        ->type_name("DATE");
    report.add_option("--to", line_.to, "Last day or RFC 3339 time; now")->type_name("DATE");
    report
        .add_option("--format", line_.format,
                    "pdf, json or csv; by the ending of the file when not given, else pdf")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"pdf", "json", "csv"}))
        ->excludes("--json");
    report.add_option("-o,--output", line_.output, "Where to; - is standard output")
        ->type_name("FILE")
        ->capture_default_str();
  }

  void add_evidence_commands() {
    auto& evidence = command(app_, "evidence", "The log of signed compliance spans",
                             "betrace-kms evidence export --tenant acme -o acme.evidence");
    evidence.require_subcommand(1);
    auto& exported =
        client(evidence, "export",
               "Write an auditor's bundle: signed spans, what proves them, and the public keys",
               "betrace-kms evidence export --tenant acme --from 2026-01-01 --to 2026-03-31 "
               "-o acme-q1.evidence");
    add_tenant(exported, true);
    exported
        .add_option("--from", line_.from,
                    "First day or RFC 3339 time of the spans; the beginning when not given")
        ->type_name("DATE");
    exported.add_option("--to", line_.to, "Last day, or time; the end when not given")
        ->type_name("DATE");
    exported
        .add_option("--checkpoint", line_.held_checkpoint,
                    "An older checkpoint; the bundle proves that the log continues it")
        ->type_name("FILE");
    exported.add_option("-o,--output", line_.output, "The bundle")->type_name("FILE")->required();
    auto& checkpoint =
        client(evidence, "checkpoint",
               "Print a signed checkpoint over all evidence of a tenant, to be kept elsewhere",
               "betrace-kms evidence checkpoint --tenant acme > acme.checkpoint");
    add_tenant(checkpoint, true);
    client(evidence, "keys", "The keys that an auditor compares: the service's and the log's",
           "betrace-kms evidence keys");

    auto& verify =
        command(app_, "verify-evidence",
                "Verify a bundle without service, store or network; exit code 1 when anything in "
                "it does not verify",
                "betrace-kms verify-evidence acme-q1.evidence --checkpoint acme.checkpoint");
    verify.add_option("file", line_.file, "The bundle")->type_name("FILE")->required();
    verify
        .add_option("--checkpoint", line_.held_checkpoint,
                    "One that you kept: shows that nothing before it was changed or left out")
        ->type_name("FILE");
    verify
        .add_option("--service-key", line_.service_key,
                    "The service's public key, PEM or base64, as you know it from elsewhere")
        ->type_name("B64|@FILE");
    verify
        .add_option("--log-key", line_.log_key,
                    "The log's key, name+hash+base64, as you know it from elsewhere")
        ->type_name("KEY|@FILE");
    verify.add_option("--html", line_.html, "Write the report as a page, too")->type_name("FILE");
    verify.add_flag("--json", line_.json, "Print the report as JSON");
  }

  void add_store_commands() {
    auto& backup = command(app_, "backup",
                           "Copy the store, as it is at one moment, into a new file, while the "
                           "service goes on",
                           "betrace-kms backup /mnt/backup/kms-2026-11-25.db");
    backup.add_option("file", line_.file, "The new file")->type_name("FILE")->required();
    auto& restore = command(app_, "restore",
                            "Put a backup in the store's place, while the service is stopped; what "
                            "was there is kept beside it, and destroyed tenants stay destroyed",
                            "betrace-kms restore /mnt/backup/kms-2026-11-25.db");
    restore
        .add_option("file", line_.file,
                    "The backup; without one, with --accept-rollback, the store as it stands")
        ->type_name("FILE");
    restore.add_flag("--accept-rollback", line_.accept_rollback,
                     "Also when it is older than what was here: keys and revocations made since "
                     "are lost");
    auto& check = command(app_, "check",
                          "Whether a store or a backup fits together; exit code 1 when it does not",
                          "betrace-kms check /mnt/backup/kms-2026-11-25.db");
    check
        .add_option("file", line_.file, "A backup, or another store; the configured store if none")
        ->type_name("FILE");
    for (auto* each : {&backup, &restore, &check}) {
      each->add_flag("--json", line_.json, "Print the report as JSON");
    }
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

}  // namespace betrace::kms
