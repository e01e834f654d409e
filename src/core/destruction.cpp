#include "core/destruction.h"

#include <algorithm>
#include <utility>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

// What nobody who deletes a row can promise; docs/security.md explains each.
constexpr std::string_view not_covered[] = {
    "backups and copies of the store that were made before",
    "disk blocks that the file system or the device has freed, and snapshots of volumes",
    "data that was decrypted before",
};

std::string versions_json(const std::vector<DestroyedVersion>& versions) {
  std::string out = "[";
  for (const auto& each : versions) {
    if (out.size() > 1) out += ',';
    out += JsonNote()
               .text("keyId", each.id.str())
               .text("type", to_string(each.type))
               .number("version", each.version)
               .str();
  }
  return out + "]";
}

Result<std::vector<DestroyedVersion>> parse_versions(const boost::json::value& root) {
  std::vector<DestroyedVersion> versions;
  const auto* const list = root.is_object() ? root.get_object().if_contains("keys") : nullptr;
  if (list == nullptr || !list->is_array()) return versions;
  for (const auto& each : list->get_array()) {
    versions.push_back({.id = TRY(KeyId::parse(text_of(each, "keyId"))),
                        .type = TRY(parse_key_type(text_of(each, "type"))),
                        .version = static_cast<std::uint32_t>(number_of(each, "version"))});
  }
  return versions;
}

}  // namespace

std::string to_text(const DestructionNote& note) {
  return JsonNote()
      .flag("buried", note.buried)
      .text("certificate", note.certificate)
      .time("destroyedAt", note.destroyed_at)
      .raw("keys", versions_json(note.versions))
      .text("probe", note.probe)
      .text("probeAfter", note.probe_after)
      .text("probeBefore", note.probe_before)
      .time("requestedAt", note.requested_at)
      .flag("scrubbed", note.scrubbed)
      .text("tenantId", note.tenant.str())
      .str();
}

Result<DestructionNote> parse_destruction_note(std::string_view text) {
  JsonDocument document;
  if (!document.parse(text)) {
    return fail(ErrorCode::corrupt, "the store's note of a destruction cannot be read");
  }
  const auto& root = document.root();
  return DestructionNote{.tenant = TenantId::from_store(text_of(root, "tenantId")),
                         .requested_at = time_of(root, "requestedAt"),
                         .destroyed_at = time_of(root, "destroyedAt"),
                         .probe = text_of(root, "probe"),
                         .probe_before = text_of(root, "probeBefore"),
                         .probe_after = text_of(root, "probeAfter"),
                         .versions = TRY(parse_versions(root)),
                         .certificate = text_of(root, "certificate"),
                         .scrubbed = flag_of(root, "scrubbed"),
                         .buried = flag_of(root, "buried")};
}

Destruction to_destruction(const DestructionNote& note) {
  const auto signing = static_cast<std::uint64_t>(
      std::ranges::count(note.versions, KeyType::signing, &DestroyedVersion::type));
  return {.tenant = note.tenant,
          .destroyed_at = note.is_destroyed() ? note.destroyed_at : note.requested_at,
          .signing_keys = signing,
          .encryption_keys = note.versions.size() - signing,
          .pending = !note.is_complete(),
          .certificate = note.certificate};
}

change::Note written(std::string_view prefix, const DestructionNote& note) {
  return {.name = std::string(prefix) + note.tenant.str(), .text = to_text(note)};
}

Commit destruction_commit(DestructionNote& note, const std::vector<KeyRecord>& keys,
                          SystemTime now) {
  Commit commit;
  note.versions.clear();
  for (const auto& key : keys) {
    note.versions.push_back({.id = key.id, .type = key.type, .version = key.version});
    commit.emplace_back(change::DestroySecret{.key = key.id, .at = now});
    // A revoked signing key stays revoked: its signatures must not be trusted again.
    const bool stays = key.state == KeyState::destroyed ||
                       (key.type == KeyType::signing && key.state == KeyState::revoked);
    if (stays) continue;
    commit.emplace_back(
        change::Transition{.key = key.id, .from = key.state, .to = KeyState::destroyed, .at = now});
  }
  note.destroyed_at = now;
  commit.emplace_back(written(destroyed_prefix, note));
  commit.emplace_back(written(destroying_prefix, note));
  return commit;
}

std::string destruction_statement(const DestructionNote& note) {
  std::string exceptions = "[";
  for (const auto each : not_covered) {
    if (exceptions.size() > 1) exceptions += ',';
    append_json_string(each, exceptions);
  }
  return JsonNote()
      .text("destroyedAt", rfc3339(note.destroyed_at))
      .raw("keys", versions_json(note.versions))
      .raw("notCovered", exceptions + "]")
      .raw("probe",
           JsonNote().text("after", note.probe_after).text("before", note.probe_before).str())
      .text("requestedAt", rfc3339(note.requested_at))
      .text("tenantId", note.tenant.str())
      .str();
}

}  // namespace betrace::kms
