#include "app/restore.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>

#include "betrace/kms/clock.h"

#include "app/admin_token.h"
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

void remove_store(const std::string& path) {
  for (const auto* each : {"", "-wal", "-shm", "-journal"}) ::unlink((path + each).c_str());
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

Status compare_keys(const std::vector<KeyRecord>& had, const std::vector<KeyRecord>& have,
                    Lost& lost) {
  for (const auto& key : had) {
    const auto found = std::ranges::find(have, key.id, &KeyRecord::id);
    if (found == have.end()) ++lost.key_versions;
    if (key.state != KeyState::revoked) continue;
    if (found != have.end() && found->state == KeyState::revoked) continue;
    lost.revocations.push_back(
        {.tenant = key.tenant.str(), .key = key.id.str(), .reason = key.reason});
  }
  return {};
}

Result<Lost> compare(KeyStore& had, KeyStore& have) {
  Lost lost{.known = true};
  const auto call = restoring();
  TRY(for_each_tenant(had, [&](const TenantRecord& tenant) -> Status {
    if (tenant.destroyed) return {};
    const auto found = have.find_tenant(call, tenant.id);
    if (!found && found.error().code != ErrorCode::tenant_not_found) {
      return std::unexpected(found.error());
    }
    if (!found) ++lost.tenants;
    const auto keys = found ? TRY(have.list_keys(call, tenant.id)) : std::vector<KeyRecord>();
    return compare_keys(TRY(had.list_keys(call, tenant.id)), keys, lost);
  }));
  return lost;
}

// Also those whose certificate is still to be signed, which no tombstone names yet.
Result<std::uint64_t> destroy_what_was_destroyed(KeyStore& had, KeyStore& have) {
  std::uint64_t again = 0;
  const auto call = restoring();
  const auto now = system_clock().now();
  TRY(for_each_tenant(had, [&](const TenantRecord& tenant) -> Status {
    if (!tenant.destroyed) return {};
    DestructionNote note{.tenant = tenant.id, .requested_at = now};
    if (TRY(destroy_again(call, have, std::move(note), now))) ++again;
    return {};
  }));
  return again;
}

std::string what_is_lost(const Lost& lost) {
  if (!lost.known) return "what was made since is not known, because the store cannot be read";
  return fmt::format(
      "{} tenants, {} key versions (what they encrypted could not be decrypted any more) and {} "
      "revocations were made since",
      lost.tenants, lost.key_versions, lost.revocations.size());
}

// One restore, from the copy to the swap.
class Restore {
 public:
  Restore(const RestoreRequest& request, Witness& witness)
      : request_(request), witness_(witness), fresh_(request.store + ".restoring") {}
  ~Restore() {
    have_.reset();
    remove_store(fresh_);
  }

  Status copy(const CopyProgress& progress) {
    remove_store(fresh_);
    TRY(copy_sqlite_store(request_.backup, fresh_, progress));
    have_ = TRY(open_sqlite_store({.path = fresh_, .readers = 1}));
    return {};
  }

  // A store that cannot be read is why backups exist: it is kept, and nothing is known of it.
  Status look_at_what_is_there() {
    if (!exists(request_.store)) return {};
    report_.kept =
        fmt::format("{}.before-restore-{}", request_.store, file_stamp(system_clock().now()));
    if (const auto settled = settle_sqlite_store(request_.store); !settled) {
      if (settled.error().code == ErrorCode::conflict) return settled;
      return {};
    }
    auto had = open_sqlite_store_read_only(request_.store);
    if (!had) return {};
    generation_ = (*had)->generation(restoring()).value_or(0);
    if (auto lost = compare(**had, *have_)) report_.lost = *std::move(lost);
    if (report_.lost.known) had_ = *std::move(had);
    return {};
  }

  Status decide() {
    const auto history = TRY(read_history(restoring(), *have_, witness_));
    report_.epoch = history.store.value_or(Epoch()).number;
    if (!history.mark) {
      report_.rolled_back = report_.lost.anything();
    } else {
      report_.mark_epoch = history.mark->number;
      generation_ = std::max(generation_, history.mark->generation);
      const bool behind = report_.epoch < report_.mark_epoch;
      // Nothing happened between the backup and the mark but that an epoch was sealed.
      const bool complete = TRY(have_->generation(restoring())) >= history.mark->generation;
      report_.rolled_back = report_.lost.anything() || (behind && !complete);
      if (behind && complete) TRY(take_over_the_mark());
    }
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
    if (had_) {
      TRY(complete_tombstones(call, *had_, witness_));
    }
    report_.destroyed_again = TRY(apply_tombstones(call, *have_, witness_, system_clock()));
    if (had_) report_.destroyed_again += TRY(destroy_what_was_destroyed(*had_, *have_));
    const bool counters = had_ != nullptr;
    had_.reset();
    have_.reset();
    TRY(settle_sqlite_store(fresh_));
    return raise_sqlite_store(fresh_, {.generation = generation_,
                                       .epoch = report_.mark_epoch,
                                       .counters_of = counters ? request_.store : std::string()});
  }

  Result<RestoreReport> swap() {
    TRY(swap_sqlite_store(fresh_, request_.store, report_.kept));
    if (report_.rolled_back && report_.mark_epoch > 0) {
      report_.mark_kept = TRY(witness_.set_mark_aside(system_clock().now()));
    }
    return report_;
  }

 private:
  Status take_over_the_mark() {
    const auto envelope = TRY(witness_.mark());
    return have_->commit(restoring(), {change::Note{.name = epoch_note_name(report_.mark_epoch),
                                                    .text = *envelope}});
  }

  const RestoreRequest& request_;
  Witness& witness_;
  const std::string fresh_;
  std::unique_ptr<KeyStore> have_, had_;
  std::uint64_t generation_ = 0;
  RestoreReport report_;
};

// The store is older than its mark, and that is accepted.
Result<RestoreReport> accept_as_it_stands(const RestoreRequest& request, Witness& witness) {
  TRY(settle_sqlite_store(request.store));
  auto store = TRY(open_sqlite_store_read_only(request.store));
  const auto history = TRY(read_history(restoring(), *store, witness));
  store.reset();
  RestoreReport report{.epoch = history.store.value_or(Epoch()).number,
                       .mark_epoch = history.mark.value_or(Epoch()).number};
  report.rolled_back = report.epoch < report.mark_epoch;
  if (!report.rolled_back) return report;
  TRY(settle_sqlite_store(request.store));
  TRY(raise_sqlite_store(
      request.store,
      {.generation = history.mark->generation, .epoch = report.mark_epoch, .counters_of = {}}));
  report.mark_kept = TRY(witness.set_mark_aside(system_clock().now()));
  return report;
}

}  // namespace

Result<RestoreReport> restore_store(const RestoreRequest& request, const CopyProgress& progress) {
  Witness witness(request.witness_dir);
  if (request.backup.empty()) return accept_as_it_stands(request, witness);
  Restore restore(request, witness);
  TRY(restore.copy(progress));
  TRY(restore.look_at_what_is_there());
  TRY(restore.decide());
  TRY(restore.carry_over());
  return restore.swap();
}

}  // namespace betrace::kms
