#include "evidence/archive.h"

#include <algorithm>
#include <future>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"
#include "evidence/bundle.h"
#include "evidence/span.h"

namespace betrace::kms {
namespace {

constexpr std::size_t checkpoints_max = 1000;  // in a bundle

std::string json_list(const std::vector<std::string>& values) {
  std::string out = "[";
  for (const auto& value : values) {
    if (out.size() > 1) out += ',';
    out += value;
  }
  return out + "]";
}

std::string json_text(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

std::string json_hashes(const std::vector<Digest>& hashes) {
  std::vector<std::string> texts;
  for (const auto& hash : hashes) texts.push_back(json_text(base64_encode(hash)));
  return json_list(texts);
}

std::string json_key(const PublicKey& key) {
  JsonNote note;
  note.text("keyId", key.id.str());
  note.count("version", key.version);
  note.text("publicKey", base64_encode(ed25519_spki(key.bytes)));
  note.text("status", key_status(key.state));
  note.text("createdAt", rfc3339(key.created_at));
  if (key.state == KeyState::revoked && key.state_changed_at) {
    note.text("revokedAt", rfc3339(*key.state_changed_at));
    note.text("revocationReason", key.reason);
  }
  if (!key.attestation_envelope.empty()) note.raw("attestation", key.attestation_envelope);
  if (!key.succession_envelope.empty()) note.raw("succession", key.succession_envelope);
  return note.str();
}

std::string json_keys(const std::vector<PublicKey>& keys) {
  std::vector<std::string> texts;
  for (const auto& key : keys) texts.push_back(json_key(key));
  return json_list(texts);
}

// The smallest range of leaves that has every leaf of the period.
struct LeafRange {
  std::uint64_t begin = 0, end = 0;
};

bool is_in(const EvidenceArchive::Period& period, std::string_view leaf) {
  JsonDocument document;
  const auto time =
      document.parse(leaf) ? rfc3339_time(text_of(document.root(), "timestamp")) : std::nullopt;
  if (!time) return true;  // what cannot be told apart is shown
  return (!period.from || *time >= *period.from) && (!period.to || *time < *period.to);
}

Result<LeafRange> range_of(const TileReader& tiles, const EvidenceArchive::Period& period) {
  if (!period.from && !period.to) return LeafRange{.begin = 0, .end = tiles.size()};
  LeafRange range{.begin = tiles.size(), .end = tiles.size()};
  bool any = false;
  for (std::uint64_t at = 0; at < tiles.size();) {
    for (const auto& leaf : TRY(tiles.entries(at, tiles.size()))) {
      if (is_in(period, leaf)) {
        if (!std::exchange(any, true)) range.begin = at;
        range.end = at + 1;
      }
      ++at;
    }
  }
  return range;
}

// Where a key was revoked since, up to the next checkpoint: it may be the only one that shows the
// range's leaves to be older.
void extend_to_proof(LeafRange& range, const std::vector<EvidenceLog::Published>& all,
                     const std::vector<PublicKey>& keys) {
  const auto next = std::ranges::find_if(
      all, [&](const auto& each) { return each.checkpoint.size >= range.end; });
  if (range.begin == range.end || next == all.end()) return;
  const bool revoked_since = std::ranges::any_of(keys, [&](const PublicKey& key) {
    return key.state == KeyState::revoked && key.state_changed_at &&
           next->checkpoint.time < *key.state_changed_at;
  });
  if (revoked_since) range.end = next->checkpoint.size;
}

// Those over the bundle's leaves, thinned out when there are many; always those just before a key
// was revoked, since they say what is older.
std::vector<std::string> useful_checkpoints(const std::vector<EvidenceLog::Published>& all,
                                            const LeafRange& range,
                                            const std::vector<PublicKey>& keys) {
  std::vector<const EvidenceLog::Published*> over;
  for (const auto& each : all) {
    if (each.checkpoint.size >= range.begin && each.checkpoint.size <= range.end) {
      over.push_back(&each);
    }
  }
  const auto step = std::max<std::size_t>(1, over.size() / checkpoints_max + 1);
  std::vector<std::string> notes;
  for (std::size_t i = 0; i < over.size(); ++i) {
    const auto next = i + 1 < over.size() ? over[i + 1]->checkpoint.time : SystemTime::max();
    const bool last_before_a_revocation = std::ranges::any_of(keys, [&](const PublicKey& key) {
      return key.state == KeyState::revoked && key.state_changed_at &&
             over[i]->checkpoint.time < *key.state_changed_at && next >= *key.state_changed_at;
    });
    if (i % step == 0 || i + 1 == over.size() || last_before_a_revocation) {
      notes.push_back(json_text(over[i]->note));
    }
  }
  return notes;
}

}  // namespace

Result<std::uint64_t> index_of(const TileReader& tiles, const Digest& leaf) {
  for (std::uint64_t at = 0; at < tiles.size();) {
    for (const auto& each : TRY(tiles.leaf_hashes(at, tiles.size()))) {
      if (each == leaf) return at;
      ++at;
    }
  }
  return fail(ErrorCode::not_found, "the log has no such leaf");
}

Result<EvidenceLog::Published> first_seen(const EvidenceLog& log, const TenantId& tenant,
                                          ByteView leaf) {
  const auto size = TRY(log.published(tenant)).checkpoint.size;
  const auto index = TRY(index_of(log.tiles(tenant, size), leaf_hash(leaf)));
  for (auto& each : TRY(log.all_published(tenant))) {
    if (each.checkpoint.size > index) return std::move(each);
  }
  return log.published(tenant);
}

Result<EvidenceLog*> Archive::log() const {
  if (parts_.log != nullptr) return parts_.log->get();
  return fail(ErrorCode::not_found,
              "there is no evidence log: betrace.evidence.log.enabled is false");
}

Result<std::string> Archive::log_key() { return TRY(TRY(log())->public_key()).text(); }

Result<EvidenceLog::Published> Archive::up_to_date(const TenantId& tenant) {
  auto& log = *TRY(this->log());
  TRY(log.publish());
  return log.published(tenant);
}

Result<std::string> Archive::checkpoint(const TenantId& tenant) {
  return TRY(up_to_date(tenant)).note;
}

Result<EvidenceArchive::Inclusion> Archive::inclusion(const TenantId& tenant, std::uint64_t index) {
  auto published = TRY(up_to_date(tenant));
  const auto size = published.checkpoint.size;
  if (index >= size) {
    return fail(ErrorCode::not_found,
                fmt::format("the log of tenant {} has {} leaves, and none at {}", tenant.str(),
                            size, index));
  }
  const auto tiles = TRY(log())->tiles(tenant, size);
  return Inclusion{.index = index,
                   .size = size,
                   .leaf = TRY(tiles.node({.level = 0, .index = index})),
                   .proof = TRY(inclusion_proof(index, size, tiles.reader())),
                   .checkpoint = std::move(published.note)};
}

Result<EvidenceArchive::Inclusion> Archive::inclusion(const TenantId& tenant, const Hash& leaf) {
  const auto published = TRY(up_to_date(tenant));
  const auto tiles = TRY(log())->tiles(tenant, published.checkpoint.size);
  return inclusion(tenant, TRY(index_of(tiles, leaf)));
}

Result<EvidenceArchive::Consistency> Archive::consistency(const TenantId& tenant,
                                                          std::uint64_t first) {
  auto published = TRY(up_to_date(tenant));
  const auto size = published.checkpoint.size;
  const auto tiles = TRY(log())->tiles(tenant, size);
  return Consistency{.first = first,
                     .second = size,
                     .proof = TRY(consistency_proof(first, size, tiles.reader())),
                     .checkpoint = std::move(published.note)};
}

Result<std::vector<std::string>> Archive::leaves(const TenantId& tenant, std::uint64_t begin,
                                                 std::uint64_t end, std::size_t bytes_max) {
  auto& log = *TRY(this->log());
  const auto size = TRY(log.published(tenant)).checkpoint.size;
  if (begin >= end || end > size) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("begin, end: accepted is a range within the {} leaves of the log, "
                            "not {} to {}",
                            size, begin, end));
  }
  const auto tiles = log.tiles(tenant, size);
  std::vector<std::string> all;
  std::size_t bytes = 0;
  while (begin + all.size() < end) {
    for (auto& leaf : TRY(tiles.entries(begin + all.size(), end))) {
      bytes += leaf.size();
      if (bytes > bytes_max && !all.empty()) return all;
      all.push_back(std::move(leaf));
    }
  }
  return all;
}

Result<std::vector<PublicKey>> Archive::keys_of(const CallContext& call, const TenantId& tenant) {
  std::promise<Result<std::vector<PublicKey>>> promise;
  parts_.keys.public_keys(call, tenant, [&](Result<std::vector<PublicKey>> keys) {
    promise.set_value(std::move(keys));
  });
  return promise.get_future().get();
}

Result<EvidenceArchive::BundleHead> Archive::bundle_head(const CallContext& call,
                                                         const TenantId& tenant,
                                                         const Period& period,
                                                         std::optional<std::uint64_t> held) {
  auto& log = *TRY(this->log());
  const auto published = TRY(up_to_date(tenant));
  const auto size = published.checkpoint.size;
  const auto tiles = log.tiles(tenant, size);
  auto range = TRY(range_of(tiles, period));
  const auto keys = TRY(keys_of(call, tenant));
  const auto checkpoints = TRY(log.all_published(tenant));
  extend_to_proof(range, checkpoints, keys);
  const auto hashes = [&](std::uint64_t begin, std::uint64_t end) {
    return hashes_of(whole_subtrees(begin, end), tiles.reader());
  };
  JsonNote manifest;
  manifest.raw("checkpoint", json_text(published.note));
  manifest.raw("checkpoints", json_list(useful_checkpoints(checkpoints, range, keys)));
  if (held && *held > size) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the checkpoint is over {} leaves, and the log of tenant {} has {}: it "
                            "is another log's, or this one has lost leaves",
                            *held, tenant.str(), size));
  }
  if (held) {
    const auto proof = TRY(consistency_proof(*held, size, tiles.reader()));
    manifest.raw(
        "consistency",
        JsonNote().text("first", std::to_string(*held)).raw("proof", json_hashes(proof)).str());
  }
  manifest.text("createdAt", rfc3339(parts_.clock.now()));
  manifest.text("begin", std::to_string(range.begin));
  manifest.text("end", std::to_string(range.end));
  if (period.from) manifest.text("from", rfc3339(*period.from));
  if (period.to) manifest.text("to", rfc3339(*period.to));
  manifest.raw("keys", json_keys(keys));
  manifest.raw("left", json_hashes(TRY(hashes(0, range.begin))));
  manifest.text("logKey", TRY(log.public_key()).text());
  manifest.raw("right", json_hashes(TRY(hashes(range.end, size))));
  manifest.raw("serviceKeys", json_keys(TRY(keys_of(call, TenantId::service()))));
  manifest.text("tenantId", tenant.str());
  const auto envelope = TRY(parts_.assert_statement(call, bundle_type, manifest.str()));
  return BundleHead{
      .line = JsonNote().text("format", bundle_format).raw("manifest", envelope).str(),
      .begin = range.begin,
      .end = range.end};
}

}  // namespace betrace::kms
