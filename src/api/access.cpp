#include "api/access.h"

#include <algorithm>

#include <fmt/format.h>

#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view reading_verbs[] = {"status", "validate", "doctor", "cache-config",
                                              "public-keys"};

spdlog::logger& log() {
  static auto& instance = logger(log_category::audit);
  return instance;
}

std::string escaped(std::string_view text) {
  constexpr std::size_t bytes_max = 128;
  const bool cut = text.size() > bytes_max;
  std::string out;
  for (const char c : text.substr(0, bytes_max)) {
    const bool plain = c > 0x20 && c < 0x7f && c != '=' && c != '\\' && c != '"';
    if (plain) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (cut) out += "...";
  return out;
}

}  // namespace

bool AdminAuthorizer::allow(const Principal& principal, std::string_view verb,
                            std::string_view /*tenant*/) const {
  switch (principal.kind) {
    case Principal::Kind::admin:
    case Principal::Kind::system:
      return true;
    case Principal::Kind::anonymous:
      return std::ranges::find(reading_verbs, verb) != std::end(reading_verbs);
  }
  return false;
}

std::string audit_line(const AuditEvent& event) {
  return fmt::format("principal={} verb={} tenant={} outcome={} request_id={}",
                     escaped(event.principal), event.verb,
                     event.tenant.empty() ? "-" : escaped(event.tenant), event.outcome,
                     event.request_id);
}

LogAuditSink::~LogAuditSink() { tell_counts(); }

void LogAuditSink::tell_counts() {
  for (const auto& [kind, count] : refusals_) {
    if (count <= refusals_a_second) continue;
    log().warn("{} repeated={}", kind, count - refusals_a_second);
  }
  refusals_.clear();
}

bool LogAuditSink::is_counted_only(const AuditEvent& event) {
  constexpr std::chrono::seconds span{1};
  const std::lock_guard lock(mutex_);
  if (event.at < second_ || event.at - second_ >= span) {
    tell_counts();
    second_ = event.at;
  }
  if (event.outcome == "ok") return false;
  const auto kind = fmt::format("principal={} verb={} tenant=* outcome={}",
                                escaped(event.principal), event.verb, event.outcome);
  return ++refusals_[kind] > refusals_a_second;
}

Status LogAuditSink::record(const AuditEvent& event) {
  if (is_counted_only(event)) return {};
  log().log(event.outcome == "ok" ? spdlog::level::info : spdlog::level::warn, "{}",
            audit_line(event));
  return {};
}

}  // namespace betrace::kms
