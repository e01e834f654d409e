#include "core/history.h"

#include <algorithm>
#include <set>
#include <string>

#include <fmt/format.h>

#include "base/envelope.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"
#include "core/destruction.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t notes_at_once = 1000;

bool is_absent(const Error& error) {
  return error.code == ErrorCode::key_not_found || error.code == ErrorCode::tenant_not_found;
}

Result<std::optional<Bytes>> service_key_of(const CallContext& call, KeyStore& store) {
  auto record = store.find_active_key(call, TenantId::service(), KeyType::signing);
  if (record) return std::move(record->public_key);
  if (is_absent(record.error())) return std::nullopt;
  return std::unexpected(std::move(record).error());
}

std::unexpected<Error> altered(std::string_view what, const Error& error) {
  return fail(ErrorCode::corrupt, fmt::format("{} is not this store's: {}", what, error.message));
}

// The tenant that a certificate is about. Errors: corrupt.
Result<TenantId> buried_tenant(std::string_view certificate, ByteView service_key) {
  const auto opened = TRY(open_envelope(certificate, destruction_type, service_key));
  JsonDocument document;
  TRY(document.parse(opened.payload));
  return TenantId::parse(text_of(document.root(), "tenantId"));
}

}  // namespace

Result<History> read_history(const CallContext& call, KeyStore& store) {
  History history{.service_key = TRY(service_key_of(call, store)), .store = {}, .mark = {}};
  if (!history.service_key) return history;
  if (const auto note = TRY(find_epoch(call, store))) {
    const auto sealed = open_epoch(*note, *history.service_key);
    if (!sealed) return altered("the epoch in the store", sealed.error());
    history.store = sealed->epoch;
  }
  return history;
}

Result<std::optional<Epoch>> read_mark(const Witness& witness,
                                       const std::optional<Bytes>& service_key) {
  const auto mark = TRY(witness.mark());
  if (!mark) return std::nullopt;
  if (!service_key) {
    return fail(
        ErrorCode::conflict,
        fmt::format("the store holds no keys, and {} says that a store with keys was here. Check "
                    "betrace.kms.store.url, or restore a backup (betrace-kms restore FILE); to "
                    "begin anew and give those keys up, move that file away",
                    witness.mark_path()));
  }
  const auto sealed = open_epoch(*mark, *service_key);
  if (sealed) return sealed->epoch;
  return altered(fmt::format("the high-water mark {}", witness.mark_path()),
                 {.code = ErrorCode::corrupt,
                  .message = sealed.error().message +
                             ". To do without it, and take the store on trust: betrace-kms restore "
                             "--accept-rollback"});
}

Result<History> read_history(const CallContext& call, KeyStore& store, const Witness& witness) {
  auto history = TRY(read_history(call, store));
  history.mark = TRY(read_mark(witness, history.service_key));
  return history;
}

Status check_not_rolled_back(const History& history, const Witness& witness) {
  if (!history.mark) return {};
  const auto store = history.store.value_or(Epoch());
  if (store.number >= history.mark->number) return {};
  return fail(
      ErrorCode::conflict,
      fmt::format(
          "the store is older than it was: its epoch is {}, and {} says {}. Revocations and "
          "keys made since would be lost. Restore a newer backup (betrace-kms restore "
          "FILE), or accept what is lost: betrace-kms restore --accept-rollback",
          store.number, witness.mark_path(), history.mark->number));
}

Result<bool> destroy_again(const CallContext& call, KeyStore& store, DestructionNote note,
                           SystemTime now) {
  const auto tenant = store.find_tenant(call, note.tenant);
  auto keys = std::vector<KeyRecord>();
  if (!tenant && tenant.error().code == ErrorCode::tenant_not_found) {
    TRY(store.create_tenant(call, {.id = note.tenant, .created_at = now, .destroyed = true}, {}));
  } else if (!tenant) {
    return std::unexpected(tenant.error());
  } else {
    // Closed is not destroyed: the store may be of a moment between the two.
    keys = TRY(store.list_keys(call, note.tenant));
    const bool gone = std::ranges::all_of(
        keys, [](const KeyRecord& key) { return key.secret_destroyed_at.has_value(); });
    if (tenant->destroyed && gone) return false;
  }
  auto commit = destruction_commit(note, keys, now);
  commit.insert(commit.begin(), change::CloseTenant{note.tenant});
  TRY(store.commit(call, commit));
  return true;
}

Result<std::uint64_t> apply_tombstones(const CallContext& call, KeyStore& store,
                                       const Witness& witness, const Clock& clock) {
  const auto service_key = TRY(service_key_of(call, store));
  std::uint64_t buried = 0;
  if (!service_key) return buried;
  for (auto& certificate : TRY(witness.tombstones())) {
    auto tenant = buried_tenant(certificate, *service_key);
    if (!tenant) {
      logger(log_category::kms)
          .warn("a line of {} is left out: {}", witness.tombstones_path(), tenant.error().message);
      continue;
    }
    DestructionNote note{.tenant = *std::move(tenant),
                         .requested_at = clock.now(),
                         .certificate = std::move(certificate),
                         .buried = true};
    const auto name = note.tenant.str();
    if (!TRY(destroy_again(call, store, std::move(note), clock.now()))) continue;
    ++buried;
    logger(log_category::kms)
        .warn("Tenant {} was destroyed and is alive in this store: destroyed again", name);
  }
  return buried;
}

Status complete_tombstones(const CallContext& call, KeyStore& store, Witness& witness) {
  const auto lines = TRY(witness.tombstones());
  const std::set<std::string, std::less<>> known(lines.begin(), lines.end());
  std::string after;
  for (;;) {
    const auto page = TRY(store.list_notes(call, destroyed_prefix, after, notes_at_once));
    if (page.empty()) return {};
    for (const auto& [name, text] : page) {
      const auto note = parse_destruction_note(text);
      if (!note) {
        logger(log_category::kms).warn("the note {} is left out: {}", name, note.error().message);
        continue;
      }
      if (note->certificate.empty() || known.contains(note->certificate)) continue;
      TRY(witness.bury(note->certificate));
    }
    after = page.back().first;
  }
}

}  // namespace betrace::kms
