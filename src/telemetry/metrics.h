// Every metric of the service, declared once. A new one is a member here, a call where it happens
// and a line in docs/metrics.md (a test compares). Thread-safe; nothing here waits for a store or
// a provider.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "betrace/kms/key.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/provider.h"

namespace betrace::kms {

class Metrics {
  struct State;
  std::unique_ptr<State> state_;  // first: the references below point into it

 public:
  // `provider`: the names whose kms_operation_seconds exist from the start.
  explicit Metrics(std::string_view provider);
  ~Metrics();

  // kms_retrieve_{signing,public,encryption}_key_seconds. Cache hits are not timed one by one:
  // the caches' hit counts are added to the lowest bucket when the metrics are read, because the
  // two clock readings would cost more than the hit.
  prometheus::Histogram& retrieve_signing_key;
  prometheus::Histogram& retrieve_public_key;
  prometheus::Histogram& retrieve_encryption_key;

  prometheus::Counter& rotation_success;
  prometheus::Counter& rotation_failures;
  prometheus::Counter& tenants_rotated;
  prometheus::Histogram& rotation_duration;

  prometheus::Counter& signatures;
  prometheus::Counter& stale_signatures;
  prometheus::Counter& encryptions;
  prometheus::Counter& verifications_valid;
  prometheus::Counter& verifications_invalid;
  prometheus::Counter& spans_signed;
  prometheus::Counter& spans_signed_before;
  prometheus::Counter& spans_refused;
  prometheus::Counter& spans_failed;
  prometheus::Counter& spans_valid;
  prometheus::Counter& spans_invalid;
  prometheus::Counter& decryptions_success;
  prometheus::Counter& decryptions_failure;
  prometheus::Counter& trace_spans_dropped;
  prometheus::Counter& evidence_leaves;
  prometheus::Counter& checkpoints_made;
  prometheus::Counter& checkpoints_failed;

  // kms_otlp_items_total{signal,result}: signed, logged, signed_before, signing_failed,
  // unverified, passed.
  prometheus::Counter& otlp_items(std::string_view signal, std::string_view result);
  // kms_otlp_forwards_total{result}: sent, failed, refused.
  prometheus::Counter& otlp_forwards(std::string_view result);
  prometheus::Gauge& otlp_queue_bytes;
  // kms_evidence_pushes_total{result}: sent, failed.
  prometheus::Counter& evidence_pushes(std::string_view result);
  // kms_operation_seconds{provider,operation}; operations generate_data_key, encrypt, decrypt,
  // describe_key.
  prometheus::Histogram& operation_seconds(std::string_view provider, std::string_view operation);
  // kms_errors_total{operation,error}; `error` is the code, e.g. "kms_timeout".
  prometheus::Counter& errors(std::string_view operation, ErrorCode error);
  // circuit_breaker_state{name}: 0 closed, 1 open, 2 half open.
  prometheus::Gauge& breaker_state(std::string_view name);
  // kms_provider_up{provider}; absent until it is first said.
  void set_provider_up(std::string_view provider, bool up);
  // http_server_requests_seconds{method,route,status}. Keep the reference.
  prometheus::Histogram& http_request_seconds(std::string_view method, std::string_view route,
                                              int status);

  // kms_last_rotation_timestamp_seconds; absent while there are no keys.
  void set_oldest_active_key(std::optional<SystemTime> created_at);
  // As set_oldest_active_key(), unless an older one is known.
  void keep_oldest_active_key(SystemTime created_at);
  // Read for kms_cache_{hit,miss}_total, cache_size and cache_evictions_total when metrics are
  // served. `report` must outlive this or be reset with an empty function.
  void set_cache_report(std::function<CacheReport()> report);

  // Prometheus text exposition 0.0.4. Without `metadata`, samples only (no HELP, no TYPE): the
  // manual's pipelines grep names. Plain decimals, no timestamps.
  std::string render(bool metadata) const;
};

}  // namespace betrace::kms
