#include "core/migration_note.h"

#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

std::string failures_json(const std::vector<MigrationFailure>& failures) {
  std::string out = "[";
  for (const auto& each : failures) {
    if (out.size() > 1) out += ',';
    out += JsonNote()
               .text("error", each.error)
               .text("key", each.key.str())
               .text("tenant", each.tenant)
               .str();
  }
  return out + "]";
}

}  // namespace

std::string to_text(const MigrationRun& run) {
  return JsonNote()
      .count("failed", run.failed)
      .raw("failures", failures_json(run.failures))
      .time("finishedAt", run.finished_at.value_or(SystemTime()))
      .text("id", run.id)
      .text("masterKeyId", run.target.master_key_id)
      .count("moved", run.moved)
      .text("node", run.node)
      .text("provider", run.target.provider)
      .flag("running", run.state == MigrationRun::State::running)
      .text("secondMasterKeyId", run.second ? run.second->master_key_id : "")
      .text("secondProvider", run.second ? run.second->provider : "")
      .time("startedAt", run.started_at)
      .count("total", run.total)
      .str();
}

Result<MigrationRun> parse_migration_run(std::string_view text) {
  JsonDocument document;
  if (!document.parse(text)) {
    return fail(ErrorCode::corrupt, "the store's note of a migration cannot be read");
  }
  const auto& root = document.root();
  MigrationRun run{.state = flag_of(root, "running") ? MigrationRun::State::running
                                                     : MigrationRun::State::complete,
                   .id = text_of(root, "id"),
                   .node = text_of(root, "node"),
                   .started_at = time_of(root, "startedAt"),
                   .target = {.provider = text_of(root, "provider"),
                              .master_key_id = text_of(root, "masterKeyId")},
                   .total = count_of(root, "total"),
                   .moved = count_of(root, "moved"),
                   .failed = count_of(root, "failed")};
  if (auto second = text_of(root, "secondProvider"); !second.empty()) {
    run.second = {.provider = std::move(second),
                  .master_key_id = text_of(root, "secondMasterKeyId")};
  }
  if (const auto finished = time_of(root, "finishedAt"); finished != SystemTime()) {
    run.finished_at = finished;
  }
  const auto* const failures =
      root.is_object() ? root.get_object().if_contains("failures") : nullptr;
  if (failures == nullptr || !failures->is_array()) return run;
  for (const auto& each : failures->get_array()) {
    run.failures.push_back({.key = TRY(KeyId::parse(text_of(each, "key"))),
                            .tenant = text_of(each, "tenant"),
                            .error = text_of(each, "error")});
  }
  return run;
}

}  // namespace betrace::kms
