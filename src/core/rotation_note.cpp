#include "core/rotation_note.h"

#include <utility>

#include "base/json.h"
#include "base/json_note.h"

namespace betrace::kms {
namespace {

std::string_view name_of(RotationRun::State state) {
  switch (state) {
    case RotationRun::State::running:
      return "running";
    case RotationRun::State::complete:
      return "complete";
    case RotationRun::State::interrupted:
      return "interrupted";
  }
  std::unreachable();
}

std::string failures_json(const std::vector<RotationFailure>& failures) {
  std::string out = "[";
  for (const auto& each : failures) {
    if (out.size() > 1) out += ',';
    out +=
        JsonNote().time("at", each.at).text("error", each.error).text("tenant", each.tenant).str();
  }
  return out + "]";
}

}  // namespace

std::string to_text(const RotationRun& run) {
  return JsonNote()
      .time("cutoff", run.cutoff)
      .count("encryptionKeys", run.encryption_keys)
      .count("failed", run.failed_tenants)
      .raw("failures", failures_json(run.failures))
      .time("finishedAt", run.finished_at.value_or(SystemTime()))
      .flag("force", run.force)
      .text("id", run.id)
      .text("node", run.node)
      .count("rotated", run.rotated_tenants)
      .count("signingKeys", run.signing_keys)
      .time("startedAt", run.started_at)
      .text("state", name_of(run.state))
      .count("total", run.total_tenants)
      .text("trigger", run.trigger)
      .str();
}

Result<RotationRun> parse_rotation_run(std::string_view text) {
  JsonDocument document;
  if (!document.parse(text)) {
    return fail(ErrorCode::corrupt, "the store's note of a rotation run cannot be read");
  }
  const auto& root = document.root();
  const auto state = text_of(root, "state");
  RotationRun run{.id = text_of(root, "id"),
                  .state = state == "running"       ? RotationRun::State::running
                           : state == "interrupted" ? RotationRun::State::interrupted
                                                    : RotationRun::State::complete,
                  .trigger = text_of(root, "trigger"),
                  .node = text_of(root, "node"),
                  .force = flag_of(root, "force"),
                  .cutoff = time_of(root, "cutoff"),
                  .started_at = time_of(root, "startedAt"),
                  .total_tenants = count_of(root, "total"),
                  .rotated_tenants = count_of(root, "rotated"),
                  .failed_tenants = count_of(root, "failed"),
                  .signing_keys = count_of(root, "signingKeys"),
                  .encryption_keys = count_of(root, "encryptionKeys")};
  if (const auto finished = time_of(root, "finishedAt"); finished != SystemTime()) {
    run.finished_at = finished;
  }
  if (root.is_object() && root.get_object().contains("failures") &&
      root.at("failures").is_array()) {
    for (const auto& each : root.at("failures").get_array()) {
      run.failures.push_back({.tenant = text_of(each, "tenant"),
                              .error = text_of(each, "error"),
                              .at = time_of(each, "at")});
    }
  }
  return run;
}

}  // namespace betrace::kms
