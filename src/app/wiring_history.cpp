// What stands between a store and its use: that it is the newest one that was here.
#include <fmt/format.h>

#include "app/admin_token.h"
#include "app/wiring_parts.h"
#include "base/try.h"
#include "core/history.h"
#include "stores/sqlite_backup.h"
#include "telemetry/log.h"

namespace betrace::kms {

Result<std::string> store_file(const Config& config) {
  constexpr std::string_view sqlite_scheme = "sqlite:";
  const auto url = config.text("betrace.kms.store.url");
  if (url.starts_with(sqlite_scheme)) return url.substr(sqlite_scheme.size());
  return fail(ErrorCode::not_implemented,
              "betrace.kms.store.url: this release stores in sqlite:PATH only");
}

Status check_history(Core::Parts& parts, const Config& config) {
  constexpr std::string_view key = "betrace.kms.witness-dir";
  const auto folder = config.text(key);
  TRY(make_data_directory(folder, key));
  parts.witness.emplace(folder);
  auto& witness = *parts.witness;
  const auto call = CallContext::system("start-up");
  const auto history = TRY(read_history(call, *parts.store, witness));
  TRY(check_not_rolled_back(history, witness));
  if (history.store && !history.mark) {
    logger(log_category::kms)
        .warn(
            "There is no high-water mark at {}: that this store (epoch {}) is the newest one is "
            "taken on trust",
            witness.mark_path(), history.store->number);
  }
  TRY(apply_tombstones(call, *parts.store, witness, system_clock()));
  if (const auto written = complete_tombstones(call, *parts.store, witness); !written) {
    logger(log_category::kms).warn("tombstones are missing: {}", written.error().message);
  }
  remove_restore_leftovers(TRY(store_file(config)));
  return {};
}

}  // namespace betrace::kms
