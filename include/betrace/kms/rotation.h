// Rotation of every tenant whose keys have grown old: by schedule and by request. One run at a time
// on a store, whichever daemon does it; its progress is in the store, so that all of them can
// answer for it. Thread-safe; calls that take a `done` may wait for the store, the others answer
// at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/key.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

struct RotationFailure {
  std::string tenant;
  std::string error;  // "kms_access_denied: …"
  SystemTime at;
};

struct RotationRun {
  enum class State : std::uint8_t { running, complete, interrupted };
  std::string id;  // UUIDv7: sorts by time; empty: there has been none
  State state = State::complete;
  std::string trigger;  // "schedule", "request", "resumed"
  std::string node;     // who does it
  bool force = false;
  SystemTime cutoff;  // keys created before it are due
  SystemTime started_at;
  std::optional<SystemTime> finished_at;
  std::uint64_t total_tenants = 0, rotated_tenants = 0, failed_tenants = 0;
  std::uint64_t signing_keys = 0, encryption_keys = 0;  // rotated
  std::vector<RotationFailure> failures;                // the first 1,000
  std::optional<SystemTime> estimated_completion;       // while it runs
};

struct RotationRequest {
  bool force = false;                                // every tenant, however young its keys
  std::optional<std::chrono::milliseconds> stagger;  // between tenants, instead of the configured
  std::string trigger = "request";
};

struct DueKey {
  KeyRecord key;  // without wrappings
  std::chrono::days age{};
};

// One rotation that happened: a successor and what it replaced.
struct RotatedKey {
  TenantId tenant;
  KeyType type = KeyType::signing;
  KeyId old_key, new_key;
  std::uint32_t new_version = 0;
  SystemTime rotated_at;
};

struct RotationReport {
  SystemTime from, to;  // [from, to)
  std::vector<RotatedKey> rotated;
  std::vector<RotationRun> runs;  // that began in this time
  std::uint64_t tenants = 0;      // open ones, now
  std::uint64_t overdue = 0;      // tenants with a key over the age bound, now
  std::chrono::days max_age{};
  bool truncated = false;  // more was rotated than is listed
};

struct ScheduleState {
  std::string name = "keyRotationCheck";
  bool enabled = false;
  std::string cron;  // as configured
  std::optional<SystemTime> last_execution, next_execution;
};

class RotationControl {
 public:
  virtual ~RotationControl() = default;

  // Begins a run and answers it as it begins. Errors: rotation_running.
  virtual void start(CallContext call, RotationRequest request, Done<RotationRun> done) = 0;
  // The run in progress, of whichever daemon, else the last one.
  virtual void status(CallContext call, Done<RotationRun> done) = 0;
  // Active keys over the age bound, oldest first.
  virtual void due(CallContext call, AgePlace after, std::size_t limit,
                   Done<std::vector<DueKey>> done) = 0;
  virtual void report(CallContext call, SystemTime from, SystemTime to,
                      Done<RotationReport> done) = 0;
  virtual ScheduleState schedule() const = 0;
  virtual std::chrono::days max_age() const = 0;
};

}  // namespace betrace::kms
