#include "app/restore.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "betrace/kms/clock.h"

#include "base/encoding.h"
#include "base/try.h"
#include "core/history.h"
#include "stores/sqlite_store.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

CallContext restoring() { return CallContext::system("restore"); }

bool exists(const std::string& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Calls `each` with every tenant of a store.
template <class Each>
Status for_each_tenant(KeyStore& store, Each each) {
  Page page{.after = {}, .limit = 500};
  for (;;) {
    const auto tenants = TRY(store.list_tenants(restoring(), page));
    if (tenants.empty()) return {};
    for (const auto& tenant : tenants) TRY(each(tenant));
    page.after = tenants.back().id.str();
  }
}

bool is_gone(const KeyRecord& key) {
  return key.state == KeyState::destroyed || key.secret_destroyed_at.has_value();
}

// What stands against the backup's keys of one tenant, and what of it is done again.
class Comparison {
 public:
  Comparison(KeyStore& had, KeyStore& have) : had_(had), have_(have) {}

  Result<Lost> lost() {
    TRY(for_each_tenant(had_, [&](const TenantRecord& tenant) -> Status {
      if (tenant.destroyed) return {};
      return compare_tenant(tenant.id);
    }));
    return std::move(lost_);
  }
  // Destructions of single versions, which the backup undoes; one of each key and moment.
  const Commit& destructions() const { return destructions_; }
  std::uint64_t keys_destroyed() const { return keys_destroyed_; }

 private:
  Status compare_tenant(const TenantId& tenant) {
    const auto found = have_.find_tenant(restoring(), tenant);
    if (!found && found.error().code != ErrorCode::tenant_not_found) {
      return std::unexpected(found.error());
    }
    if (!found) ++lost_.tenants;
    const auto keys = found ? TRY(have_.list_keys(restoring(), tenant)) : std::vector<KeyRecord>();
    for (const auto& key : TRY(had_.list_keys(restoring(), tenant))) {
      const auto place = std::ranges::find(keys, key.id, &KeyRecord::id);
      compare_key(key, place == keys.end() ? nullptr : &*place);
    }
    return {};
  }

  void compare_key(const KeyRecord& had, const KeyRecord* have) {
    if (have == nullptr) ++lost_.key_versions;
    if (had.state == KeyState::revoked && (have == nullptr || have->state != had.state)) {
      lost_.revocations.push_back(
          {.tenant = had.tenant.str(), .key = had.id.str(), .reason = had.reason});
    }
    if (have == nullptr || !is_gone(had) || is_gone(*have)) return;
    if (have->state == KeyState::active) {
      lost_.destructions += had.state == KeyState::destroyed;
      return;
    }
    ++keys_destroyed_;
    const auto at = had.secret_destroyed_at.value_or(system_clock().now());
    destructions_.emplace_back(change::DestroySecret{.key = had.id, .at = at});
    if (had.state != KeyState::destroyed || have->state == KeyState::revoked) return;
    destructions_.emplace_back(change::Transition{
        .key = had.id, .from = have->state, .to = KeyState::destroyed, .at = at});
  }

  KeyStore& had_;
  KeyStore& have_;
  Lost lost_;
  Commit destructions_;
  std::uint64_t keys_destroyed_ = 0;
};

// What the notes of the store say was destroyed, also where the certificate is still to be signed
// and no tombstone names it.
Result<std::uint64_t> destroy_what_was_destroyed(KeyStore& had, KeyStore& have) {
  std::uint64_t again = 0;
  const auto call = restoring();
  const auto now = system_clock().now();
  for (const auto prefix : {destroyed_prefix, destroying_prefix}) {
    std::string after;
    for (;;) {
      const auto notes = TRY(had.list_notes(call, prefix, after, 500));
      if (notes.empty()) break;
      for (const auto& [name, text] : notes) {
        const auto tenant = TenantId::parse(std::string_view(name).substr(prefix.size()));
        if (!tenant) continue;
        DestructionNote note{.tenant = *tenant, .requested_at = now};
        if (const auto read = parse_destruction_note(text)) note.certificate = read->certificate;
        if (TRY(destroy_again(call, have, std::move(note), now))) ++again;
      }
      after = notes.back().first;
    }
  }
  return again;
}

std::string what_is_lost(const Lost& lost) {
  if (!lost.known) {
    return "what was made since is not known, because the store cannot be read: " + lost.unreadable;
  }
  return fmt::format(
      "{} tenants, {} key versions (what they encrypted could not be decrypted any more), {} "
      "revocations and {} destructions of keys were made since",
      lost.tenants, lost.key_versions, lost.revocations.size(), lost.destructions);
}

// One restore, from the copy to the swap.
class Restore {
 public:
  Restore(const RestoreRequest& request, std::string store, Witness& witness)
      : request_(request),
        store_(std::move(store)),
        witness_(witness),
        fresh_(restore_draft(store_)) {}
  ~Restore() {
    have_.reset();
    had_.reset();
    remove_restore_leftovers(store_);
  }

  Status copy(const CopyProgress& progress) {
    remove_restore_leftovers(store_);
    TRY(copy_sqlite_store(request_.backup, fresh_, progress));
    have_ = TRY(open_sqlite_store({.path = fresh_, .readers = 1}));
    return {};
  }

  // A store that cannot be read is why backups exist: it is kept, and nothing is known of it.
  Status look_at_what_is_there() {
    if (!exists(store_)) return {};
    report_.kept = fmt::format("{}.before-restore-{}", store_, file_stamp(system_clock().now()));
    auto claim = StoreClaim::take(store_);
    if (!claim && claim.error().code == ErrorCode::conflict) {
      return std::unexpected(std::move(claim).error());
    }
    const auto looked = claim ? look() : Status(std::unexpected(claim.error()));
    if (claim) claim_ = *std::move(claim);
    if (looked) return {};
    had_.reset();
    report_.lost = {.known = false, .unreadable = looked.error().message};
    return {};
  }

  Status decide() {
    auto history = TRY(read_history(restoring(), *have_));
    report_.epoch = history.store.value_or(Epoch()).number;
    const auto mark = read_mark(witness_, history.service_key);
    if (!mark && !request_.accept_rollback) return std::unexpected(mark.error());
    set_mark_aside_ = !mark;
    report_.rolled_back = report_.lost.anything() || !mark;
    if (mark && *mark) TRY(compare_with(**mark));
    if (!report_.rolled_back || request_.accept_rollback) return {};
    return fail(ErrorCode::conflict,
                fmt::format("{} is older than what was here (epoch {}, high-water mark {}): {}. "
                            "Nothing was changed. Restore a newer backup, or accept that with "
                            "--accept-rollback",
                            request_.backup, report_.epoch, report_.mark_epoch,
                            what_is_lost(report_.lost)));
  }

  Status carry_over() {
    const auto call = restoring();
    if (had_) TRY(complete_tombstones(call, *had_, witness_));
    report_.destroyed_again = TRY(apply_tombstones(call, *have_, witness_, system_clock()));
    if (had_) {
      report_.destroyed_again += TRY(destroy_what_was_destroyed(*had_, *have_));
      TRY(have_->commit(call, destructions_));
    }
    const bool counters = had_ != nullptr;
    had_.reset();
    have_.reset();
    return raise_sqlite_store(fresh_, {.generation = generation_,
                                       .epoch = report_.mark_epoch,
                                       .counters_of = counters ? had_path_ : std::string()});
  }

  Result<RestoreReport> swap() {
    TRY(swap_sqlite_store(fresh_, store_, report_.kept));
    if (set_mark_aside_ || (report_.rolled_back && report_.mark_epoch > 0)) {
      report_.mark_kept = TRY(witness_.set_mark_aside(system_clock().now()));
    }
    return report_;
  }

 private:
  // A store of an older release is read as a copy that is brought up to date.
  Status look() {
    had_path_ = store_;
    auto had = open_sqlite_store_read_only(store_);
    if (!had && had.error().code == ErrorCode::conflict) {
      had_path_ = fresh_ + ".had";
      TRY(copy_sqlite_store(store_, had_path_, [](std::uint64_t, std::uint64_t) {}));
      had = open_sqlite_store({.path = had_path_, .readers = 1});
    }
    if (!had) return std::unexpected(std::move(had).error());
    had_ = *std::move(had);
    generation_ = TRY(had_->generation(restoring()));
    Comparison comparison(*had_, *have_);
    report_.lost = TRY(comparison.lost());
    destructions_ = comparison.destructions();
    report_.keys_destroyed_again = comparison.keys_destroyed();
    return {};
  }

  Status compare_with(const Epoch& mark) {
    report_.mark_epoch = mark.number;
    generation_ = std::max(generation_, mark.generation);
    if (report_.epoch >= mark.number) return {};
    // It may be that nothing happened between the backup and the mark but that an epoch was sealed.
    if (TRY(have_->generation(restoring())) < mark.generation) {
      report_.rolled_back = true;
      return {};
    }
    const auto envelope = TRY(witness_.mark());
    return have_->commit(restoring(),
                         {change::Note{.name = epoch_note_name(mark.number), .text = *envelope}});
  }

  const RestoreRequest& request_;
  const std::string store_;
  Witness& witness_;
  const std::string fresh_;
  std::string had_path_;
  std::optional<StoreClaim> claim_;  // until the swap is made
  std::unique_ptr<KeyStore> have_, had_;
  Commit destructions_;
  std::uint64_t generation_ = 0;
  bool set_mark_aside_ = false;  // it cannot be read
  RestoreReport report_;
};

// The store is older than its mark, or the mark cannot be read, and that is accepted.
Result<RestoreReport> accept_as_it_stands(const std::string& path, Witness& witness) {
  {
    const auto claim = TRY(StoreClaim::take(path));
  }
  auto store = TRY(open_sqlite_store_read_only(path));
  const auto history = TRY(read_history(restoring(), *store));
  store.reset();
  const auto mark = read_mark(witness, history.service_key);
  const auto newest = mark.value_or(std::nullopt).value_or(Epoch());
  RestoreReport report{.epoch = history.store.value_or(Epoch()).number,
                       .mark_epoch = newest.number};
  report.rolled_back = !mark || report.epoch < report.mark_epoch;
  if (!report.rolled_back) return report;
  TRY(raise_sqlite_store(
      path, {.generation = newest.generation, .epoch = newest.number, .counters_of = {}}));
  report.mark_kept = TRY(witness.set_mark_aside(system_clock().now()));
  return report;
}

}  // namespace

Result<RestoreReport> restore_store(const RestoreRequest& request, const CopyProgress& progress) {
  Witness witness(request.witness_dir);
  // Where a link leads: the file changes places there.
  std::error_code error;
  const auto canonical = fs::canonical(request.store, error);
  const auto store = error ? request.store : canonical.native();
  if (request.backup.empty()) return accept_as_it_stands(store, witness);
  Restore restore(request, store, witness);
  TRY(restore.copy(progress));
  TRY(restore.look_at_what_is_there());
  TRY(restore.decide());
  TRY(restore.carry_over());
  return restore.swap();
}

}  // namespace betrace::kms
