#include "api/access.h"

#include <algorithm>

#include <fmt/format.h>

#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view reading_verbs[] = {"status", "validate", "doctor", "cache-config",
                                              "public-keys"};

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

Status LogAuditSink::record(const AuditEvent& event) {
  static auto& log = logger(log_category::audit);
  log.log(event.outcome == "ok" ? spdlog::level::info : spdlog::level::warn, "{}",
          audit_line(event));
  return {};
}

}  // namespace betrace::kms
