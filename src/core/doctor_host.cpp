// What the machine shows: files, disk, memory, certificate, the schema of the store's file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/doctor_rules.h"

namespace betrace::kms {
namespace {

constexpr std::uint64_t mebibyte = 1 << 20;
constexpr std::uint64_t disk_low = 512 * mebibyte, disk_full = 64 * mebibyte;
constexpr std::chrono::days certificate_soon{30};

void find_open_files(const DoctorFacts& facts, Findings& out) {
  for (const bool tokens : {true, false}) {
    std::vector<std::string> words, remedy;
    for (const auto& file : facts.host.open_files) {
      if (file.token != tokens) continue;
      words.push_back(fmt::format("{} has mode {:04o}", file.path, file.mode));
      remedy.push_back(fmt::format("chmod {:o} {}", file.wanted, shell_word(file.path)));
    }
    if (tokens) {
      words.insert(words.end(), facts.config.open_secrets.begin(), facts.config.open_secrets.end());
    }
    if (words.empty()) continue;
    auto& it = out.emplace_back(
        tokens ? finding("token-readable", Severity::warning, "A secret can be read by other users")
               : finding("file-modes", Severity::warning,
                         "Files of the service are open to other users"));
    it.evidence = fmt::format("{}", fmt::join(words, "; "));
    it.cause = "The file was copied or made by hand, or its mode was changed";
    it.remedy = std::move(remedy);
    if (it.remedy.empty()) it.remedy = {"betrace-kms config"};
  }
}

void find_disk(const DoctorFacts& facts, Findings& out) {
  const auto& disk = facts.host.disk;
  if (!disk || disk->free_bytes >= disk_low) return;
  const bool full = disk->free_bytes < disk_full;
  auto& it = out.emplace_back(
      finding("disk-space", full ? Severity::critical : Severity::warning,
              fmt::format("{} MiB are free for the store", disk->free_bytes / mebibyte)));
  it.evidence = fmt::format("{}: {} bytes free", disk->path, disk->free_bytes);
  it.cause = "The disk is nearly full: what cannot be written is refused";
  it.remedy = {"df -h " + shell_word(disk->path),
               fmt::format("du -xh {} | sort -h | tail", shell_word(disk->path))};
}

void find_certificate(const DoctorFacts& facts, Findings& out) {
  const auto& certificate = facts.host.certificate;
  if (!certificate) return;
  const auto left =
      certificate->expires_at ? *certificate->expires_at - facts.now : SystemTime::duration::zero();
  if (certificate->expires_at && left > certificate_soon) return;
  const bool over = left <= SystemTime::duration::zero();
  const auto days = std::chrono::floor<std::chrono::days>(left).count();
  auto& it = out.emplace_back(
      finding("tls-expiry", over ? Severity::critical : Severity::warning,
              !certificate->expires_at ? "The certificate of the service cannot be read"
              : over                   ? "The certificate of the service has expired"
                                       : fmt::format("The certificate of the service expires in {} "
                                                                       "days",
                                                     days)));
  it.evidence = certificate->expires_at
                    ? fmt::format("{}: {} days left", certificate->file, days)
                    : fmt::format("{}: {}", certificate->file, certificate->error);
  it.cause = "Nobody has renewed it";
  it.remedy = {
      fmt::format("openssl x509 -in {} -noout -subject -enddate", shell_word(certificate->file)),
      "systemctl reload betrace-kms"};
}

void find_schema(const DoctorFacts& facts, Findings& out) {
  const auto& schema = facts.host.schema;
  if (!schema) return;
  if (!schema->error.empty()) {
    auto& it = out.emplace_back(finding("schema-version", Severity::critical,
                                        "The store's file is not one of this service"));
    it.evidence = fmt::format("{}: {}", schema->file, schema->error);
    it.cause = "Another program's file, or a damaged one";
    it.remedy = {fmt::format("sqlite3 {} 'PRAGMA integrity_check'", shell_word(schema->file))};
    return;
  }
  if (schema->version == schema->newest) return;
  const bool newer = schema->version > schema->newest;
  auto& it = out.emplace_back(finding(
      "schema-version", newer ? Severity::critical : Severity::info,
      newer ? "The store was made by a newer release" : "The store is of an older release"));
  it.evidence = fmt::format("{} has schema {}, this program knows {}", schema->file,
                            schema->version, schema->newest);
  it.cause = newer ? "This program is older than the one that wrote the store, and refuses it"
                   : "It is brought up to date when the service starts next";
  it.remedy = newer ? std::vector<std::string>{"betrace-kms version"}
                    : std::vector<std::string>{restart_command};
}

void find_unlocked_memory(const DoctorFacts& facts, Findings& out) {
  if (facts.host.memory_locked.value_or(true)) return;
  auto& it =
      out.emplace_back(finding("memory-lock", Severity::warning, "Secret memory is not locked"));
  it.evidence = "RLIMIT_MEMLOCK of the service is too small: keys may be written to swap";
  it.cause = "The limit of locked memory (ulimit -l, LimitMEMLOCK=) is below what the keys need";
  it.remedy = {"mkdir -p /etc/systemd/system/betrace-kms.service.d",
               "printf '[Service]\\nLimitMEMLOCK=infinity\\n' > "
               "/etc/systemd/system/betrace-kms.service.d/memlock.conf",
               "systemctl daemon-reload", restart_command};
}

}  // namespace

void diagnose_host(const DoctorFacts& facts, Findings& out) {
  find_open_files(facts, out);
  find_disk(facts, out);
  find_certificate(facts, out);
  find_schema(facts, out);
  find_unlocked_memory(facts, out);
}

}  // namespace betrace::kms
