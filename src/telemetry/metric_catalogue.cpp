#include "telemetry/metric_catalogue.h"

#include <algorithm>
#include <iterator>

namespace betrace::kms {
namespace {

constexpr auto counter = prometheus::MetricType::Counter;
constexpr auto gauge = prometheus::MetricType::Gauge;
constexpr auto histogram = prometheus::MetricType::Histogram;

constexpr MetricDescription catalogue[] = {
    {"betrace_kms_build_info", gauge, "version", "Always 1; the label names the release."},
    {"cache_evictions_total", counter, "cache,cause",
     "Keys that left a cache: for want of room, because their time was up, or on demand."},
    {"cache_size", gauge, "cache", "Keys in a cache now."},
    {"circuit_breaker_state", gauge, "name", "0 closed, 1 open, 2 half open."},
    {"http_server_requests_seconds", histogram, "method,route,status",
     "Time to answer a request, from its head to its answer."},
    {"kms_cache_hit_total", counter, "key_type", "Keys that were found in their cache."},
    {"kms_cache_miss_total", counter, "key_type", "Keys that had to be loaded."},
    {"kms_compliance_spans_total", counter, "result",
     "Compliance spans that came to be signed: signed now, before, refused as bad, or failed."},
    {"kms_compliance_verifications_total", counter, "result",
     "Compliance spans that callers asked to verify."},
    {"kms_decryptions_total", counter, "result", "Texts that callers asked to decrypt."},
    {"kms_encryptions_total", counter, "", "Texts encrypted for callers."},
    {"kms_errors_total", counter, "operation,error",
     "Calls to the provider of the master key that failed, by error code."},
    {"kms_evidence_checkpoints_total", counter, "result",
     "Checkpoints of the evidence log: made, or rounds that failed."},
    {"kms_evidence_leaves_total", counter, "", "Signed spans that went into the evidence log."},
    {"kms_evidence_pushes_total", counter, "result",
     "Checkpoints handed to betrace.evidence.checkpoint.push: sent, or tries that failed."},
    {"kms_last_rotation_timestamp_seconds", gauge, "",
     "When the oldest active tenant key was made; absent while there are none."},
    {"kms_operation_seconds", histogram, "provider,operation",
     "Time of a call to the provider of the master key, each attempt by itself."},
    {"kms_otlp_forwards_total", counter, "result",
     "Requests to betrace.otlp.forward-endpoint: sent, tries that failed, or refused for good and "
     "set aside."},
    {"kms_otlp_items_total", counter, "signal,result",
     "Spans and log records that came by OTLP: signed or logged now, attested before, flagged "
     "signing_failed, attested and unverified because nobody could look, or passed as they were."},
    {"kms_otlp_queue_bytes", gauge, "", "Bytes on the disk that wait to be forwarded."},
    {"kms_provider_up", gauge, "provider",
     "1 when the last probe of the provider of the master key went well, 0 when it failed."},
    {"kms_retrieve_encryption_key_seconds", histogram, "",
     "Time to get an encryption key, from the cache or through the provider."},
    {"kms_retrieve_public_key_seconds", histogram, "",
     "Time to get a public key, from the cache or from the store."},
    {"kms_retrieve_signing_key_seconds", histogram, "",
     "Time to get a signing key, from the cache or through the provider."},
    {"kms_rotation_duration_seconds", histogram, "", "Time of a whole rotation run."},
    {"kms_rotation_failures_total", counter, "", "Tenants whose keys a run could not rotate."},
    {"kms_rotation_success_total", counter, "", "Keys rotated."},
    {"kms_signatures_total", counter, "", "Payloads signed for callers."},
    {"kms_stale_signatures_total", counter, "",
     "Payloads signed with a key past its time to live, because the provider was down."},
    {"kms_tenants_rotated_total", counter, "", "Tenants whose keys were rotated."},
    {"kms_trace_spans_dropped_total", counter, "",
     "Trace spans that were recorded and not exported."},
    {"kms_verifications_total", counter, "result", "Signatures that callers asked to verify."},
    {"process_cpu_seconds_total", counter, "", "Total user and system CPU time spent in seconds."},
    {"process_max_fds", gauge, "", "Maximum number of open file descriptors."},
    {"process_open_fds", gauge, "", "Number of open file descriptors."},
    {"process_resident_memory_bytes", gauge, "", "Resident memory size in bytes."},
    {"process_start_time_seconds", gauge, "",
     "Start time of the process since unix epoch in seconds."},
    {"process_virtual_memory_bytes", gauge, "", "Virtual memory size in bytes."},
};

static_assert(std::ranges::is_sorted(catalogue, {}, &MetricDescription::name));

}  // namespace

std::span<const MetricDescription> metric_catalogue() { return catalogue; }

const MetricDescription* find_metric(std::string_view name) {
  const auto* found = std::ranges::lower_bound(catalogue, name, {}, &MetricDescription::name);
  return found != std::end(catalogue) && found->name == name ? found : nullptr;
}

}  // namespace betrace::kms
