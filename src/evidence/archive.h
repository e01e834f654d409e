// The evidence log for its readers, and the auditor's bundle (docs/evidence-format.md).
// Thread-safe.
#pragma once

#include <functional>

#include "betrace/kms/evidence.h"

#include "evidence/evidence_log.h"
#include "evidence/log_slot.h"

namespace betrace::kms {

// Where a log has the leaf of that hash. Errors: not_found.
Result<std::uint64_t> index_of(const TileReader& tiles, const Digest& leaf);
// The oldest checkpoint that has the leaf. Errors: not_found; those of the log.
Result<EvidenceLog::Published> first_seen(const EvidenceLog& log, const TenantId& tenant,
                                          ByteView leaf);

// All must outlive the archive.
struct ArchiveParts {
  const LogSlot* log;  // none: it is switched off
  KeyService& keys;
  const Clock& clock;
  // A DSSE envelope by the service key.
  std::function<Result<std::string>(const CallContext&, std::string_view type,
                                    std::string_view payload)>
      assert_statement;
};

class Archive final : public EvidenceArchive {
 public:
  explicit Archive(ArchiveParts parts) : parts_(std::move(parts)) {}

  Result<std::string> log_key() override;
  Result<std::string> checkpoint(const TenantId& tenant) override;
  Result<Inclusion> inclusion(const TenantId& tenant, std::uint64_t index) override;
  Result<Inclusion> inclusion(const TenantId& tenant, const Hash& leaf) override;
  Result<Consistency> consistency(const TenantId& tenant, std::uint64_t first) override;
  Result<std::vector<std::string>> leaves(const TenantId& tenant, std::uint64_t begin,
                                          std::uint64_t end, std::size_t bytes_max) override;
  Result<BundleHead> bundle_head(const CallContext& call, const TenantId& tenant,
                                 const Period& period, std::optional<std::uint64_t> held) override;

 private:
  Result<EvidenceLog*> log() const;
  // The newest checkpoint, over all that was acknowledged before the call.
  Result<EvidenceLog::Published> up_to_date(const TenantId& tenant);
  Result<std::vector<PublicKey>> keys_of(const CallContext& call, const TenantId& tenant);

  const ArchiveParts parts_;
};

}  // namespace betrace::kms
