#include "api/migration_views.h"

#include <algorithm>
#include <utility>

namespace betrace::kms {
namespace {

std::int64_t number(std::uint64_t value) { return static_cast<std::int64_t>(value); }

std::string_view status_of(const MigrationRun& run) {
  switch (run.state) {
    case MigrationRun::State::none:
      return "NONE";
    case MigrationRun::State::running:
      return "RUNNING";
    case MigrationRun::State::complete:
      return "COMPLETE";
    case MigrationRun::State::interrupted:
      return "INTERRUPTED";
  }
  std::unreachable();
}

void time_or_null(const std::optional<SystemTime>& at, JsonWriter& out) {
  at ? out.time(*at) : out.null();
}

}  // namespace

void write_holders(const std::vector<MigrationState::Holder>& holders, JsonWriter& out) {
  out.begin_array();
  for (const auto& [count, readable] : holders) {
    out.begin_object();
    out.key("provider").string(count.provider);
    out.key("master_key_id").string(count.master_key_id);
    out.key("keys").integer(number(count.keys));
    out.key("readable").boolean(readable);
    out.end_object();
  }
  out.end_array();
}

void write_migration(const MigrationState& state, JsonWriter& out) {
  const auto& run = state.run;
  const bool any = run.state != MigrationRun::State::none;
  const auto done = run.moved + run.failed;
  out.begin_object();
  out.key("status").string(status_of(run));
  out.key("run_id");
  any ? out.string(run.id) : out.null();
  out.key("provider").string(run.target.provider);
  out.key("master_key_id").string(run.target.master_key_id);
  out.key("second");
  if (run.second) {
    out.begin_object();
    out.key("provider").string(run.second->provider);
    out.key("master_key_id").string(run.second->master_key_id);
    out.end_object();
  } else {
    out.null();
  }
  out.key("total").integer(number(run.total));
  out.key("moved").integer(number(run.moved));
  out.key("failed").integer(number(run.failed));
  out.key("remaining").integer(number(run.total - std::min(run.total, done)));
  out.key("started_at");
  time_or_null(any ? std::optional(run.started_at) : std::nullopt, out);
  out.key("finished_at");
  time_or_null(run.finished_at, out);
  out.key("failures").begin_array();
  for (const auto& failure : run.failures) {
    out.begin_object();
    out.key("tenantId").string(failure.tenant);
    out.key("keyId").string(failure.key.str());
    out.key("error").string(failure.error);
    out.end_object();
  }
  out.end_array();
  out.key("wrappings");
  write_holders(state.holders, out);
  out.end_object();
}

}  // namespace betrace::kms
