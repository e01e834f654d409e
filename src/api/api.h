// What the HTTP room needs from the rest of the service, handed in once by the wiring. The room
// turns requests into the verbs of these interfaces and their answers into JSON; it decides nothing
// about keys.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "betrace/kms/audit_sink.h"
#include "betrace/kms/authorizer.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/doctor.h"
#include "betrace/kms/evidence.h"
#include "betrace/kms/key_lifecycle.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/migration.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/rotation.h"
#include "betrace/kms/secret_bytes.h"

#include "telemetry/trace.h"

namespace betrace::kms {

class Executor;
class Metrics;

// Who may read status, validate and doctor without a token. `loopback`: a loopback peer and no
// Forwarded, no X-Forwarded-*, no foreign Host, no foreign Origin.
enum class AnonymousRead : std::uint8_t { loopback, never, always };

struct ApiSettings {
  SecretBytes admin_token;
  // Where people find the token, told to loopback callers who came without, e.g. "the file
  // /var/lib/betrace-kms/admin-token".
  std::string admin_token_place;
  AnonymousRead anonymous = AnonymousRead::loopback;
  bool public_keys_anonymous = false;
  bool auto_create_tenants = false;

  // Shown by /api/admin/cache/config.
  std::chrono::minutes private_key_ttl{60};
  std::chrono::hours public_key_ttl{24};
  std::chrono::minutes encryption_key_ttl{60};
  std::size_t cache_entries_max = 1000;

  std::chrono::days rotation_max_age{90};
  // By so much longer may a call take that is acknowledged by every daemon on the store.
  std::chrono::seconds node_lease{30};
  std::string version;
  // Where the manual is; health and problems point into it.
  std::string manual_url = "docs/KMS_TROUBLESHOOTING.md";
  std::size_t requests_in_flight_max = 4096;
};

// All of it must outlive the Router and every request it has taken.
struct ApiParts {
  KeyService& keys;
  KeyLifecycle& lifecycle;
  RotationControl& rotation;
  MigrationControl& migration;
  Evidence& evidence;
  EvidenceArchive& archive;
  EvidenceStream& stream;
  Monitor& monitor;
  Doctor& doctor;
  Metrics& metrics;
  Authorizer& authorizer;
  AuditSink& audit;
  const Clock& clock;
  Executor& heavy;  // for bodies and batches too big for an I/O thread
  ApiSettings settings;
  const Tracer& tracer = Tracer::off();
};

}  // namespace betrace::kms
