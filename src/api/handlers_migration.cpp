// Moving keys to the current master key: start it, watch it; and what each master key holds.
#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/migration_views.h"

namespace betrace::kms {
namespace handlers {

void migrate(ExchangePtr exchange) {
  if (auto checked = check_no_fields(exchange->request()); !checked) {
    return refuse(std::move(exchange), std::move(checked).error());
  }
  const auto& now = *exchange;
  now.api().migration.start(now.call(),
                            [exchange = std::move(exchange)](Result<MigrationRun> run) mutable {
                              if (!run) return refuse(std::move(exchange), std::move(run).error());
                              JsonWriter body(512);
                              write_migration({.run = *std::move(run), .holders = {}}, body);
                              answer(std::move(exchange), std::move(body), 202);
                            });
}

void migration_status(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().migration.state(now.call(),
                            [exchange = std::move(exchange)](Result<MigrationState> state) mutable {
                              if (!state)
                                return refuse(std::move(exchange), std::move(state).error());
                              JsonWriter body(512 + state->run.failures.size() * 160);
                              write_migration(*state, body);
                              answer(std::move(exchange), std::move(body));
                            });
}

}  // namespace handlers
}  // namespace betrace::kms
