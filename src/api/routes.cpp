// THE TABLE: every endpoint of the service, a row each. Rows without a handler are named in the
// contract and answer 501 until their release. A batch may be 16 MiB; the handlers hold what is
// not a batch to 1 MiB.
#include <array>

#include "api/handlers.h"
#include "api/route.h"

namespace betrace::kms {
namespace {

using enum Permission;
using Extra::lease;
using Extra::rate_limited;
using std::chrono_literals::operator""s;

constexpr std::size_t small = 1 << 20;
constexpr std::size_t large = 16 << 20;
constexpr bool mutates = true;

// clang-format off
constexpr Route table[] = {
  // What runs hot comes first.
  {"POST", "/api/tenants/{id}/sign", "sign",
    bearer, large, 30s, false, handlers::sign, rate_limited},
  {"POST", "/api/tenants/{id}/verify", "verify",
    bearer, large, 30s, false, handlers::verify, rate_limited},
  {"POST", "/api/tenants/{id}/encrypt", "encrypt",
    bearer, large, 30s, false, handlers::encrypt, rate_limited},
  {"POST", "/api/tenants/{id}/decrypt", "decrypt",
    bearer, large, 30s, false, handlers::decrypt, rate_limited},
  {"POST", "/api/tenants/{id}/data-key", "data-key",
    bearer, small, 30s, false, handlers::data_key, rate_limited},
  {"POST", "/api/tenants/{id}/rewrap", "rewrap",
    bearer, large, 30s, false, handlers::rewrap, rate_limited},

  {"POST", "/api/tenants/{id}/rotate", "rotate",
    bearer, small, 30s, mutates, handlers::rotate},
  {"POST", "/api/tenants/{id}/keys/{keyId}/revoke", "revoke",
    bearer, small, 60s, mutates, handlers::revoke, lease},
  {"DELETE", "/api/tenants/{id}/keys/{keyId}", "destroy-key",
    bearer, small, 60s, mutates, handlers::destroy_key, lease},

  {"GET", "/api/tenants/{id}/public-keys", "public-keys",
    public_keys, small, 30s, false, handlers::public_keys, rate_limited},
  {"GET", "/api/tenants/{id}/jwks.json", "public-keys",
    public_keys, small, 30s, false, handlers::jwks, rate_limited},
  {"GET", "/api/public-keys", "public-keys",
    public_keys, small, 30s, false, handlers::service_public_keys},

  {"PUT", "/api/tenants/{id}", "create-tenant",
    bearer, small, 30s, mutates, handlers::create_tenant},
  {"GET", "/api/tenants", "list-tenants",
    bearer, small, 30s, false, handlers::list_tenants},
  {"GET", "/api/tenants/{id}", "describe-tenant",
    bearer, small, 30s, false, handlers::describe_tenant},
  {"DELETE", "/api/tenants/{id}", "destroy-tenant",
    bearer, small, 60s, mutates, handlers::destroy_tenant, lease},

  {"GET", "/q/health",               "health", none, small, 5s, false, handlers::health},
  {"GET", "/q/health/live",          "health", none, small, 5s, false, handlers::health_live},
  {"GET", "/q/health/ready",         "health", none, small, 5s, false, handlers::health_ready},
  {"GET", "/q/health/started",       "health", none, small, 5s, false, handlers::health_started},
  {"GET", "/q/health/group/serving", "health", none, small, 5s, false, handlers::health_serving},
  {"GET", "/health",                 "health", none, small, 5s, false, handlers::health},
  {"GET", "/health/live",            "health", none, small, 5s, false, handlers::health_live},
  {"GET", "/health/ready",           "health", none, small, 5s, false, handlers::health_ready},
  {"GET", "/health/started",         "health", none, small, 5s, false, handlers::health_started},
  {"GET", "/health/group/serving",   "health", none, small, 5s, false, handlers::health_serving},
  {"GET", "/q/metrics",              "metrics", none, small, 5s, false, handlers::metrics},
  {"GET", "/metrics",                "metrics", none, small, 5s, false, handlers::metrics},
  {"GET", "/q/openapi",              "openapi", none, small, 5s, false, handlers::openapi},
  {"GET", "/q/scheduler/status", "scheduler-status",
    none, small, 5s, false, handlers::scheduler_status},

  {"POST", "/api/admin/kms/validate", "validate",
    anonymous_read, small, 60s, false, handlers::validate},
  {"GET", "/api/admin/kms/status", "status",
    anonymous_read, small, 5s, false, handlers::status},
  {"GET", "/api/admin/kms/doctor", "doctor",
    anonymous_read, small, 5s, false, handlers::doctor},
  {"GET", "/api/admin/cache/config", "cache-config",
    anonymous_read, small, 5s, false, handlers::cache_config},
  {"POST", "/api/admin/kms/test-key-retrieval", "test-key-retrieval",
    bearer, small, 30s, false, handlers::test_key_retrieval},
  {"PUT", "/api/admin/log-level", "log-level",
    bearer, small, 5s, mutates, handlers::log_level},
  {"POST", "/api/admin/kms/rotate-all-keys", "rotate-all-keys",
    bearer, small, 30s, mutates, handlers::rotate_all_keys},
  {"GET", "/api/admin/kms/rotation-status", "rotation-status",
    bearer, small, 5s, false, handlers::rotation_status},
  {"POST", "/api/admin/kms/migrate", "migrate",
    bearer, small, 30s, mutates, handlers::migrate},
  {"GET", "/api/admin/kms/migration-status", "migration-status",
    bearer, small, 30s, false, handlers::migration_status},
  {"GET", "/api/admin/kms/tenants-needing-rotation", "tenants-needing-rotation",
    bearer, small, 30s, false, handlers::tenants_needing_rotation},
  {"POST", "/api/admin/tenants/rate-limit", "rate-limit",
    bearer, small, 5s, mutates, handlers::rate_limit},
  {"GET", "/api/admin/compliance/rotation-report", "rotation-report",
    bearer, small, 60s, false, handlers::rotation_report},

  {"POST", "/v1/traces",                   "otlp-traces",  bearer, large, 30s, false,
    handlers::otlp_traces},
  {"POST", "/v1/logs",                     "otlp-logs",    bearer, large, 30s, false,
    handlers::otlp_logs},
  {"POST", "/api/compliance/spans/sign",   "sign-spans",
    bearer, large, 30s, false, handlers::sign_spans},
  {"POST", "/api/compliance/verify/span",  "verify-spans",
    bearer, small, 30s, false, handlers::verify_span},
  {"POST", "/api/compliance/verify/batch", "verify-spans",
    bearer, large, 30s, false, handlers::verify_spans},
  {"GET", "/api/compliance/log-key", "evidence-log-key",
    public_keys, small, 30s, false, handlers::evidence_log_key},
  {"GET", "/api/tenants/{id}/evidence/checkpoint", "read-evidence",
    bearer, small, 60s, false, handlers::evidence_checkpoint, rate_limited},
  {"GET", "/api/tenants/{id}/evidence/inclusion", "read-evidence",
    bearer, small, 60s, false, handlers::evidence_inclusion, rate_limited},
  {"GET", "/api/tenants/{id}/evidence/consistency", "read-evidence",
    bearer, small, 60s, false, handlers::evidence_consistency, rate_limited},
  {"GET", "/api/tenants/{id}/evidence/leaves", "read-evidence",
    bearer, small, 60s, false, handlers::evidence_leaves, rate_limited},
  {"GET", "/api/tenants/{id}/evidence/bundle", "read-evidence",
    bearer, small, 300s, false, handlers::evidence_bundle, rate_limited},
};
// clang-format on

}  // namespace

std::span<const Route> routes() { return table; }

}  // namespace betrace::kms
