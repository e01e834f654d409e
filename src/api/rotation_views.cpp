#include "api/rotation_views.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

std::int64_t number(std::uint64_t value) { return static_cast<std::int64_t>(value); }

void time_or_null(const std::optional<SystemTime>& at, JsonWriter& out) {
  at ? out.time(*at) : out.null();
}

void text_or_null(std::string_view text, JsonWriter& out) {
  text.empty() ? out.null() : out.string(text);
}

// Cut to one place, so that 100 means all of them. A run that found nothing to do is done.
double progress_percent(const RotationRun& run, std::uint64_t done) {
  if (run.id.empty()) return 0;
  if (run.total_tenants == 0) return run.state == RotationRun::State::running ? 0 : 100;
  const auto share = static_cast<double>(done) / static_cast<double>(run.total_tenants);
  return std::floor(std::min(share, 1.0) * 1000) / 10;
}

Error not_a_cursor() {
  return {.code = ErrorCode::invalid_argument,
          .message = "'after' is not the 'next' of an earlier page"};
}

}  // namespace

std::string_view run_status(const RotationRun& run) {
  if (run.id.empty()) return "NONE";
  switch (run.state) {
    case RotationRun::State::running:
      return "RUNNING";
    case RotationRun::State::complete:
      return "COMPLETE";
    case RotationRun::State::interrupted:
      return "INTERRUPTED";
  }
  std::unreachable();
}

void write_run(const RotationRun& run, JsonWriter& out) {
  const bool any = !run.id.empty();
  const auto done = run.rotated_tenants + run.failed_tenants;
  out.begin_object();
  out.key("status").string(run_status(run));
  out.key("run_id");
  text_or_null(run.id, out);
  out.key("trigger");
  text_or_null(any ? std::string_view(run.trigger) : "", out);
  out.key("force").boolean(run.force);
  out.key("total_tenants").integer(number(run.total_tenants));
  out.key("rotated").integer(number(run.rotated_tenants));
  out.key("failed").integer(number(run.failed_tenants));
  out.key("remaining").integer(number(run.total_tenants - std::min(run.total_tenants, done)));
  out.key("progress_pct").decimal(progress_percent(run, done));
  out.key("estimated_completion");
  time_or_null(run.estimated_completion, out);
  out.key("started_at");
  time_or_null(any ? std::optional(run.started_at) : std::nullopt, out);
  out.key("finished_at");
  time_or_null(run.finished_at, out);
  out.key("signing_keys").integer(number(run.signing_keys));
  out.key("encryption_keys").integer(number(run.encryption_keys));
  out.key("failures").begin_array();
  for (const auto& failure : run.failures) {
    out.begin_object();
    out.key("tenantId").string(failure.tenant);
    out.key("error").string(failure.error);
    out.key("at").time(failure.at);
    out.end_object();
  }
  out.end_array().end_object();
}

void write_due_key(const DueKey& due, JsonWriter& out) {
  out.begin_object();
  out.key("tenantId").string(due.key.tenant.str());
  out.key("keyType").string(to_string(due.key.type));
  out.key("keyId").string(due.key.id.str());
  out.key("createdAt").time(due.key.created_at);
  out.key("ageDays").integer(due.age.count());
  out.end_object();
}

void write_schedule(const ScheduleState& schedule, JsonWriter& out) {
  out.begin_object().key("schedulers").begin_array().begin_object();
  out.key("name").string(schedule.name);
  out.key("enabled").boolean(schedule.enabled);
  out.key("cron").string(schedule.cron);
  out.key("lastExecution");
  time_or_null(schedule.last_execution, out);
  out.key("nextExecution");
  time_or_null(schedule.next_execution, out);
  out.end_object().end_array().end_object();
}

std::string page_cursor(const AgePlace& place) {
  return base64url_encode(
      as_bytes(fmt::format("{} {} {}", place.created_at.time_since_epoch().count(),
                           to_string(place.type), place.tenant)));
}

Result<AgePlace> parse_page_cursor(std::string_view text) {
  const auto bytes = base64url_decode(text);
  if (!bytes) return std::unexpected(not_a_cursor());
  const auto plain = as_text(*bytes);
  const auto first = plain.find(' ');
  const auto second = plain.find(' ', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) {
    return std::unexpected(not_a_cursor());
  }
  std::int64_t created = 0;
  const auto digits = plain.substr(0, first);
  const auto [stopped, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), created);
  const auto type = parse_key_type(plain.substr(first + 1, second - first - 1));
  const auto tenant = TenantId::parse(plain.substr(second + 1));
  if (error != std::errc() || stopped != digits.data() + digits.size() || !type || !tenant) {
    return std::unexpected(not_a_cursor());
  }
  return AgePlace{.created_at = SystemTime(std::chrono::milliseconds(created)),
                  .tenant = tenant->str(),
                  .type = *type};
}

}  // namespace betrace::kms
