// The evidence log: where it is, what seals its key, who is handed its checkpoints.
#include <fmt/format.h>

#include "app/doctor_facts_of.h"
#include "app/wiring_parts.h"
#include "app/wiring_traces.h"
#include "base/try.h"
#include "evidence/otlp_forwarder.h"
#include "net/curl_client.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view seal_purpose = "betrace-kms evidence log key v1";

CallContext seal_call() {
  auto call = CallContext::system("evidence-log");
  call.deadline = system_clock().steady_now() + std::chrono::seconds(10);
  return call;
}

LogKeySeal seal_of(ServiceSeal& seal) {
  return {
      .seal =
          [&seal](const SecretBytes& secret) {
            return seal.seal(seal_call(), seal_purpose, secret);
          },
      .open = [&seal](ByteView sealed) { return seal.open(seal_call(), seal_purpose, sealed); }};
}

Status make_push(Core::Parts& parts, const Config& config) {
  constexpr std::string_view key = "betrace.evidence.checkpoint.push";
  auto target = config.text(key);
  if (target.empty()) return {};
  parts.push_http = make_http_client();
  auto push =
      CheckpointPush::to(std::move(target), config.text("betrace.evidence.log.folder") + "/pushed",
                         *parts.push_http, system_clock(), *parts.metrics);
  if (!push) push.error().message = fmt::format("{}: {}", key, push.error().message);
  parts.push = TRY(std::move(push));
  return {};
}

// What works on an open log by itself.
struct Companions {
  std::unique_ptr<std::jthread> catching_up;
  std::unique_ptr<OtlpForwarder> forwarder;
};

Result<std::optional<OtlpForwarderOptions>> forwarder_options(const Config& config) {
  auto endpoint = config.text("betrace.otlp.forward-endpoint");
  if (endpoint.empty()) return std::nullopt;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (endpoint.ends_with("/v1/traces") || endpoint.ends_with("/v1/logs")) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("betrace.otlp.forward-endpoint: '{}' is not accepted; the address "
                            "without /v1/traces and /v1/logs is, which are put behind it",
                            endpoint));
  }
  return OtlpForwarderOptions{
      .endpoint = std::move(endpoint),
      .headers = TRY(secret_headers(config, "betrace.otlp.forward-headers")),
      .refused_folder = config.text("betrace.evidence.log.folder") + "/refused"};
}

}  // namespace

Status make_evidence_log(Core::Parts& parts, const Config& config) {
  if (!config.flag("betrace.evidence.log.enabled")) {
    if (config.text("betrace.otlp.signing") == "log") {
      return fail(ErrorCode::invalid_argument,
                  "betrace.otlp.signing: 'log' needs the evidence log, and "
                  "betrace.evidence.log.enabled is false");
    }
    logger(log_category::kms)
        .info("Compliance spans are signed and go into no log (betrace.evidence.log.enabled)");
    return {};
  }
  TRY(make_push(parts, config));
  parts.seal = std::make_unique<ServiceSeal>(*parts.store, *parts.opener, system_clock());
  EvidenceLogOptions options{
      .folder = config.text("betrace.evidence.log.folder"),
      .name = config.text("betrace.evidence.log.name"),
      .interval =
          std::chrono::seconds(config.integer("betrace.evidence.checkpoint.interval-seconds")),
      .leaves_max =
          static_cast<std::uint64_t>(config.integer("betrace.evidence.checkpoint.leaves")),
      .journal_bytes_max = static_cast<std::uint64_t>(config.integer("betrace.otlp.queue-bytes"))};
  const NoteKey named{.name = options.name};
  if (!named.has_valid_name()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("betrace.evidence.log.name: '{}' is not accepted; a name without "
                            "white space and '+' is",
                            options.name));
  }
  EvidenceLog::Parts log_parts{
      .seal = seal_of(*parts.seal), .clock = system_clock(), .metrics = *parts.metrics};
  if (parts.push) {
    log_parts.on_checkpoint = [push = parts.push.get()](const EvidenceLog::Published& checkpoint) {
      push->push(checkpoint);
    };
  }
  const auto forwarding = TRY(forwarder_options(config));
  if (forwarding) {
    options.consumers.emplace_back(OtlpForwarder::consumer);
    parts.forward_http = make_http_client();
    logger(log_category::kms).info("OTLP goes on to {}", forwarding->endpoint);
  }
  parts.evidence_log = std::make_unique<LogSlot>(
      [options, log_parts] { return EvidenceLog::open(options, log_parts); }, system_clock(),
      [forwarding, &parts](EvidenceLog& log) -> std::shared_ptr<void> {
        log.start();
        auto made = std::make_shared<Companions>();
        if (parts.push) made->catching_up = parts.push->catch_up(log);
        if (forwarding) {
          made->forwarder = std::make_unique<OtlpForwarder>(
              *forwarding, log.journal(), *parts.forward_http, system_clock(), *parts.metrics);
        }
        return made;
      });
  return {};
}

void publish_evidence(const Core::Parts& parts) {
  if (!parts.evidence_log) return;
  const auto log = parts.evidence_log->get();
  const auto status = log ? (*log)->publish() : std::unexpected(log.error());
  if (status) return;
  logger(log_category::kms)
      .warn("Before a key was revoked no checkpoint could be made: {}", status.error().message);
}

std::function<EvidenceFacts()> evidence_facts(const Core::Parts& parts, const Config& config) {
  if (!config.flag("betrace.evidence.log.enabled")) return nullptr;
  EvidenceFacts known{
      .folder = absolute(config.text("betrace.evidence.log.folder")),
      .next_in_line = config.text("betrace.otlp.forward-endpoint"),
      .queue_bytes_max = static_cast<std::uint64_t>(config.integer("betrace.otlp.queue-bytes"))};
  return [&parts, known] {
    auto facts = known;
    if (!parts.evidence_log) return facts;
    const auto log = parts.evidence_log->get();
    if (!log) {
      facts.unusable = log.error().message;
      return facts;
    }
    facts.unpublished = (*log)->trouble();
    if (!facts.next_in_line.empty()) {
      facts.queue_bytes = (*log)->journal().bytes_behind(std::string(OtlpForwarder::consumer));
    }
    return facts;
  };
}

}  // namespace betrace::kms
