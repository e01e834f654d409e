// verify-evidence: reads a bundle, verifies it, and says what it came to. Needs no configuration,
// no store and no network, and is a program of its own as well (betrace-verify-evidence).
#pragma once

#include <string>

#include "app/world.h"

namespace betrace::kms {

struct VerifyEvidenceOptions {
  std::string file;
  std::string checkpoint;  // a file with a signed note
  std::string
      service_key;      // base64 of SubjectPublicKeyInfo or of 32 bytes, or @FILE with that or PEM
  std::string log_key;  // name+hash+base64, or @FILE
  std::string html;     // a file to write the report into
  bool json = false;
};

// check_failed when something does not verify, usage for what cannot be read.
ExitCode verify_evidence(const VerifyEvidenceOptions& options, const World& world);

}  // namespace betrace::kms
