#include "telemetry/metrics.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>
#include <vector>

#include <prometheus/family.h>

#include "telemetry/exposition.h"
#include "telemetry/metric_catalogue.h"
#include "telemetry/process_metrics.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

using Counters = prometheus::Family<prometheus::Counter>;
using Gauges = prometheus::Family<prometheus::Gauge>;
using Histograms = prometheus::Family<prometheus::Histogram>;
using Boundaries = prometheus::Histogram::BucketBoundaries;

const Boundaries call_seconds = {.00001, .00005, .0001, .0005, .001, .0025, .005, .01, .025,
                                 .05,    .1,     .2,    .5,    1,    2.5,   5,    10};
const Boundaries run_seconds = {.1, .5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800};

constexpr const char* operations[] = {"generate_data_key", "encrypt", "decrypt", "describe_key"};
constexpr ErrorCode provider_errors[] = {
    ErrorCode::kms_access_denied, ErrorCode::kms_key_disabled,  ErrorCode::kms_unavailable,
    ErrorCode::kms_timeout,       ErrorCode::circuit_open,      ErrorCode::invalid_ciphertext,
    ErrorCode::invalid_argument,  ErrorCode::wrapped_elsewhere, ErrorCode::internal,
};
constexpr const char* breakers[] = {"kms-signing-key", "kms-public-key", "kms-encryption-key"};

template <class Family>
Family family(const char* name) {
  return Family(name, std::string(find_metric(name)->help), {});
}

prometheus::MetricFamily empty_family(const char* name) {
  const auto* description = find_metric(name);
  return {name, std::string(description->help), description->type, {}};
}

void add_sample(prometheus::MetricFamily& family, prometheus::Labels labels, double value) {
  prometheus::ClientMetric metric;
  for (auto& [name, text] : labels) metric.label.push_back({name, text});
  metric.counter.value = metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

struct NamedCache {
  const char* key_type;
  const char* name;
  const char* histogram;
  CacheStatistics CacheReport::* statistics;
};
constexpr NamedCache caches[] = {
    {"signing", "privateKeys", "kms_retrieve_signing_key_seconds", &CacheReport::private_keys},
    {"public", "publicKeys", "kms_retrieve_public_key_seconds", &CacheReport::public_keys},
    {"encryption", "encryptionKeys", "kms_retrieve_encryption_key_seconds",
     &CacheReport::encryption_keys},
};

void append_cache_families(const CacheReport& report,
                           std::vector<prometheus::MetricFamily>& families) {
  auto hits = empty_family("kms_cache_hit_total");
  auto misses = empty_family("kms_cache_miss_total");
  auto sizes = empty_family("cache_size");
  auto evictions = empty_family("cache_evictions_total");
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  for (const auto& cache : caches) {
    const CacheStatistics& statistics = report.*cache.statistics;
    add_sample(hits, {{"key_type", cache.key_type}}, number(statistics.hits));
    add_sample(misses, {{"key_type", cache.key_type}}, number(statistics.misses));
    add_sample(sizes, {{"cache", cache.name}}, number(statistics.size));
    const std::pair<const char*, std::uint64_t> causes[] = {
        {"size", statistics.evicted_size},
        {"expired", statistics.evicted_expired},
        {"explicit", statistics.evicted_explicit}};
    for (const auto& [cause, count] : causes) {
      add_sample(evictions, {{"cache", cache.name}, {"cause", cause}}, number(count));
    }
  }
  for (auto* each : {&hits, &misses, &sizes, &evictions}) families.push_back(std::move(*each));
}

// The hits that were not timed: each took less than the lowest boundary.
void add_hits(const CacheReport& report, std::vector<prometheus::MetricFamily>& families) {
  for (const auto& cache : caches) {
    const std::uint64_t hits = (report.*cache.statistics).hits;
    for (auto& family : families) {
      if (family.name != cache.histogram) continue;
      for (auto& metric : family.metric) {
        metric.histogram.sample_count += hits;
        for (auto& bucket : metric.histogram.bucket) bucket.cumulative_count += hits;
      }
    }
  }
}

}  // namespace

struct Metrics::State {
  Histograms retrieve_signing = family<Histograms>("kms_retrieve_signing_key_seconds");
  Histograms retrieve_public = family<Histograms>("kms_retrieve_public_key_seconds");
  Histograms retrieve_encryption = family<Histograms>("kms_retrieve_encryption_key_seconds");
  Counters rotation_success = family<Counters>("kms_rotation_success_total");
  Counters rotation_failures = family<Counters>("kms_rotation_failures_total");
  Counters tenants_rotated = family<Counters>("kms_tenants_rotated_total");
  Histograms rotation_duration = family<Histograms>("kms_rotation_duration_seconds");
  Counters signatures = family<Counters>("kms_signatures_total");
  Counters stale_signatures = family<Counters>("kms_stale_signatures_total");
  Counters encryptions = family<Counters>("kms_encryptions_total");
  Counters verifications = family<Counters>("kms_verifications_total");
  Counters spans = family<Counters>("kms_compliance_spans_total");
  Counters span_verifications = family<Counters>("kms_compliance_verifications_total");
  Counters evidence_leaves = family<Counters>("kms_evidence_leaves_total");
  Counters checkpoints = family<Counters>("kms_evidence_checkpoints_total");
  Counters pushes = family<Counters>("kms_evidence_pushes_total");
  Counters otlp_items = family<Counters>("kms_otlp_items_total");
  Counters otlp_forwards = family<Counters>("kms_otlp_forwards_total");
  Gauges otlp_queue = family<Gauges>("kms_otlp_queue_bytes");
  Counters decryptions = family<Counters>("kms_decryptions_total");
  Counters trace_spans_dropped = family<Counters>("kms_trace_spans_dropped_total");
  Histograms operation_seconds = family<Histograms>("kms_operation_seconds");
  Counters errors = family<Counters>("kms_errors_total");
  Gauges breaker_state = family<Gauges>("circuit_breaker_state");
  Gauges provider_up = family<Gauges>("kms_provider_up");
  Histograms http_requests = family<Histograms>("http_server_requests_seconds");
  Gauges build_info = family<Gauges>("betrace_kms_build_info");

  mutable std::mutex mutex;  // of what follows
  std::optional<SystemTime> oldest_active_key;
  std::function<CacheReport()> cache_report;

  std::vector<prometheus::MetricFamily> collect() const;
};

std::vector<prometheus::MetricFamily> Metrics::State::collect() const {
  auto families = process_metrics();
  const prometheus::Collectable* all[] = {
      &retrieve_signing,   &retrieve_public, &retrieve_encryption, &rotation_success,
      &rotation_failures,  &tenants_rotated, &rotation_duration,   &signatures,
      &stale_signatures,   &encryptions,     &verifications,       &decryptions,
      &operation_seconds,  &errors,          &breaker_state,       &provider_up,
      &http_requests,      &build_info,      &trace_spans_dropped, &spans,
      &span_verifications, &evidence_leaves, &checkpoints,         &pushes,
      &otlp_items,         &otlp_forwards,   &otlp_queue};
  for (const auto* each : all) {
    for (auto& family : each->Collect()) families.push_back(std::move(family));
  }
  // Held while the report is made: once the setter returns, the old one is never called again.
  const std::lock_guard lock(mutex);
  const CacheReport report = cache_report ? cache_report() : CacheReport{};
  add_hits(report, families);
  append_cache_families(report, families);
  if (oldest_active_key) {
    auto rotation = empty_family("kms_last_rotation_timestamp_seconds");
    const auto milliseconds = oldest_active_key->time_since_epoch().count();
    add_sample(rotation, {}, static_cast<double>(milliseconds) / 1000.0);
    families.push_back(std::move(rotation));
  }
  return families;
}

Metrics::Metrics(std::string_view provider)
    : state_(std::make_unique<State>()),
      retrieve_signing_key(state_->retrieve_signing.Add({}, call_seconds)),
      retrieve_public_key(state_->retrieve_public.Add({}, call_seconds)),
      retrieve_encryption_key(state_->retrieve_encryption.Add({}, call_seconds)),
      rotation_success(state_->rotation_success.Add({})),
      rotation_failures(state_->rotation_failures.Add({})),
      tenants_rotated(state_->tenants_rotated.Add({})),
      rotation_duration(state_->rotation_duration.Add({}, run_seconds)),
      signatures(state_->signatures.Add({})),
      stale_signatures(state_->stale_signatures.Add({})),
      encryptions(state_->encryptions.Add({})),
      verifications_valid(state_->verifications.Add({{"result", "valid"}})),
      verifications_invalid(state_->verifications.Add({{"result", "invalid"}})),
      spans_signed(state_->spans.Add({{"result", "signed"}})),
      spans_signed_before(state_->spans.Add({{"result", "signed_before"}})),
      spans_refused(state_->spans.Add({{"result", "refused"}})),
      spans_failed(state_->spans.Add({{"result", "failed"}})),
      spans_valid(state_->span_verifications.Add({{"result", "valid"}})),
      spans_invalid(state_->span_verifications.Add({{"result", "invalid"}})),
      decryptions_success(state_->decryptions.Add({{"result", "success"}})),
      decryptions_failure(state_->decryptions.Add({{"result", "failure"}})),
      trace_spans_dropped(state_->trace_spans_dropped.Add({})),
      evidence_leaves(state_->evidence_leaves.Add({})),
      checkpoints_made(state_->checkpoints.Add({{"result", "made"}})),
      checkpoints_failed(state_->checkpoints.Add({{"result", "failed"}})),
      otlp_queue_bytes(state_->otlp_queue.Add({})) {
  for (const char* signal : {"traces", "logs"}) {
    for (const char* result :
         {"signed", "logged", "signed_before", "signing_failed", "unverified", "passed"}) {
      otlp_items(signal, result);
    }
  }
  for (const char* result : {"sent", "failed", "refused"}) otlp_forwards(result);
  for (const char* result : {"sent", "failed"}) evidence_pushes(result);
  for (const char* operation : operations) {
    operation_seconds(provider, operation);
    for (const ErrorCode error : provider_errors) errors(operation, error);
  }
  for (const char* name : breakers) breaker_state(name);
  state_->build_info.Add({{"version", std::string(version())}}).Set(1);
}

Metrics::~Metrics() = default;

prometheus::Counter& Metrics::otlp_items(std::string_view signal, std::string_view result) {
  return state_->otlp_items.Add({{"signal", std::string(signal)}, {"result", std::string(result)}});
}

prometheus::Counter& Metrics::otlp_forwards(std::string_view result) {
  return state_->otlp_forwards.Add({{"result", std::string(result)}});
}

prometheus::Counter& Metrics::evidence_pushes(std::string_view result) {
  return state_->pushes.Add({{"result", std::string(result)}});
}

prometheus::Histogram& Metrics::operation_seconds(std::string_view provider,
                                                  std::string_view operation) {
  return state_->operation_seconds.Add(
      {{"provider", std::string(provider)}, {"operation", std::string(operation)}}, call_seconds);
}

prometheus::Counter& Metrics::errors(std::string_view operation, ErrorCode error) {
  return state_->errors.Add(
      {{"operation", std::string(operation)}, {"error", std::string(to_string(error))}});
}

prometheus::Gauge& Metrics::breaker_state(std::string_view name) {
  return state_->breaker_state.Add({{"name", std::string(name)}});
}

void Metrics::set_provider_up(std::string_view provider, bool up) {
  state_->provider_up.Add({{"provider", std::string(provider)}}).Set(up ? 1 : 0);
}

prometheus::Histogram& Metrics::http_request_seconds(std::string_view method,
                                                     std::string_view route, int status) {
  return state_->http_requests.Add({{"method", std::string(method)},
                                    {"route", std::string(route)},
                                    {"status", std::to_string(status)}},
                                   call_seconds);
}

void Metrics::set_oldest_active_key(std::optional<SystemTime> created_at) {
  const std::lock_guard lock(state_->mutex);
  state_->oldest_active_key = created_at;
}

void Metrics::keep_oldest_active_key(SystemTime created_at) {
  const std::lock_guard lock(state_->mutex);
  auto& oldest = state_->oldest_active_key;
  oldest = std::min(oldest.value_or(created_at), created_at);
}

void Metrics::set_cache_report(std::function<CacheReport()> report) {
  const std::lock_guard lock(state_->mutex);
  state_->cache_report = std::move(report);
}

std::string Metrics::render(bool metadata) const { return exposition(state_->collect(), metadata); }

}  // namespace betrace::kms
