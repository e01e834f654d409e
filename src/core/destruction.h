// What is written down about the destruction of a tenant: the note in the store that outlives a
// crash, and the statement that the service key signs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "betrace/kms/key.h"
#include "betrace/kms/key_lifecycle.h"
#include "betrace/kms/key_store.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

inline constexpr std::string_view destruction_type =
    "application/vnd.betrace.destruction-certificate.v1+json";
// Notes by tenant: of what is under way, and of what was destroyed, for ever.
inline constexpr std::string_view destroying_prefix = "destroying/";
inline constexpr std::string_view destroyed_prefix = "destroyed/";

struct DestroyedVersion {
  KeyId id;
  KeyType type = KeyType::signing;
  std::uint32_t version = 0;
};

struct DestructionNote {
  TenantId tenant = TenantId::service();
  SystemTime requested_at;
  SystemTime destroyed_at;   // zero while the secrets are there
  std::string probe;         // base64 of a ciphertext that could be opened; empty: none was made
  std::string probe_before;  // "opened", or why there is none
  std::string probe_after;   // what became of it
  std::vector<DestroyedVersion> versions;
  std::string certificate;  // DSSE envelope
  bool scrubbed = false;
  bool buried = false;  // the certificate stands outside the store (witness.h)

  bool is_destroyed() const { return destroyed_at != SystemTime(); }
  bool is_complete() const { return scrubbed && buried && !certificate.empty(); }
};

std::string to_text(const DestructionNote& note);
// It under `prefix` in the store.
change::Note written(std::string_view prefix, const DestructionNote& note);
// Errors: corrupt.
Result<DestructionNote> parse_destruction_note(std::string_view text);
Destruction to_destruction(const DestructionNote& note);

// What destroys the secrets of `keys`, all of the tenant's; `note` is told, and goes into the store
// with it.
Commit destruction_commit(DestructionNote& note, const std::vector<KeyRecord>& keys,
                          SystemTime now);

// The payload of the certificate, RFC 8785.
std::string destruction_statement(const DestructionNote& note);

}  // namespace betrace::kms
