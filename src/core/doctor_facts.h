// Everything that the rules of doctor look at, as plain values: whoever gathers them leaves out
// what it cannot know, and a rule whose facts are missing finds nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/key_service.h"
#include "betrace/kms/migration.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/remedies.h"

#include "base/http.h"

namespace betrace::kms {

// The configuration as it concerns the rules.
struct ConfigFacts {
  std::string file = "application.properties";  // where a setting is added
  std::string provider = "local";
  std::string host = "127.0.0.1";  // that the service listens on
  bool beyond_loopback = false;
  std::string refused;                           // why it cannot be used; empty: it can
  bool provider_unsupported = false;             // that is why
  std::vector<std::string> providers_available;  // in this release
  std::vector<std::string> unknown_keys;         // sentences
  std::vector<std::string> open_secrets;         // sentences about files that others can read

  std::chrono::minutes private_key_ttl{60}, encryption_key_ttl{60};
  std::uint64_t cache_entries_max = 1000;
  bool rotation_enabled = true;
  std::chrono::days rotation_max_age{90};
  std::string data_dir = "data";
  std::string log_file = "/var/log/betrace/backend.log";
  std::string url = "http://127.0.0.1:8080";  // where this machine reaches the service
};

// What a probe of the provider has shown, and how its bytes travelled.
struct ProviderFacts {
  ProbeReport probe;
  bool live = false;                               // asked now, not in the background
  std::optional<HttpPhases> phases;                // of the slowest exchange
  std::optional<std::chrono::seconds> clock_skew;  // this machine's less the provider's
  const Remedies* remedies = nullptr;              // outlives the facts
};

// What was used in the last hour, or since the start.
struct UsageFacts {
  std::chrono::seconds window{};
  CacheStatistics signing, encryption;                     // differences
  std::uint64_t decryptions = 0, refused_ciphertexts = 0;  // asked for by callers
  std::uint64_t refused_wrappings = 0;                     // by the provider
};

struct StoreFacts {
  std::optional<Error> error;  // the store does not answer; the rest is older
  std::optional<SystemTime> oldest_active_key;
  std::uint64_t tenants = 0, overdue_tenants = 0;
  std::vector<MigrationState::Holder> holders;
  std::uint64_t not_wrapped_twice = 0;  // keys, where there is a second provider
};

struct HostFacts {
  struct OpenFile {
    std::string path;
    unsigned mode = 0, wanted = 0;
    bool token = false;  // it lets its reader in
  };
  struct Disk {
    std::string path;
    std::uint64_t free_bytes = 0;
  };
  struct Certificate {
    std::string file;
    std::optional<SystemTime> expires_at;
    std::string error;  // why it cannot be read
  };
  struct Schema {
    std::string file;
    int version = 0, newest = 0;  // in the file; that this program knows
    std::string error;
  };
  std::vector<OpenFile> open_files;
  std::optional<Disk> disk;
  std::optional<Certificate> certificate;
  std::optional<Schema> schema;
  std::optional<bool> memory_locked;
};

// Where compliance spans go into a log.
struct EvidenceFacts {
  std::string folder;
  std::string unusable;      // why no compliance span is signed; empty: they are
  std::string unpublished;   // why the last checkpoint was not made; empty: it was
  std::string next_in_line;  // that takes OTLP; empty: it goes nowhere
  std::uint64_t queue_bytes = 0, queue_bytes_max = 0;  // of what waits for that
};

struct DoctorFacts {
  SystemTime now;
  ConfigFacts config;
  std::optional<ProviderFacts> provider;
  std::optional<ProviderFacts> second;  // where one is configured
  std::vector<BreakerReport> breakers;
  std::optional<UsageFacts> usage;
  std::optional<StoreFacts> store;
  std::optional<EvidenceFacts> evidence;
  HostFacts host;
  // The service could not be asked, and why. For the command only.
  std::optional<std::string> service_unreachable;
};

}  // namespace betrace::kms
