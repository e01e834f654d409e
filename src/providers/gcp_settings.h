// What the gcp provider is told: which key, which address, and whose credentials; checked once at
// start. Thread-safe: plain values.
#pragma once

#include <string>
#include <vector>

#include "betrace/kms/result.h"

#include "providers/catalog.h"

namespace betrace::kms {

struct GcpSettings {
  std::string project, location, key_ring, key;
  std::string url;               // without a slash at the end
  std::string credentials_file;  // empty: the metadata server
  std::string metadata_url;
  std::vector<std::string> warnings;  // sentences for the log

  std::string location_name() const;  // "projects/P/locations/L"
  std::string key_name() const;       // "projects/P/locations/L/keyRings/R/cryptoKeys/K"
};

// Application default credentials (google.aip.dev/auth/4110): gcp.kms.credentials-file, else
// GOOGLE_APPLICATION_CREDENTIALS, else gcloud's file, else the metadata server.
// Errors: invalid_argument names the key, the value and what is accepted.
Result<GcpSettings> read_gcp_settings(const ProviderEnvironment& environment);

}  // namespace betrace::kms
