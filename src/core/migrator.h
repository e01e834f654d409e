// Moves keys to the current provider's master key; see betrace/kms/migration.h. A thread of its own
// does the work, under a lease of the store.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "betrace/kms/clock.h"
#include "betrace/kms/migration.h"

#include "base/executor.h"
#include "core/call_budget.h"
#include "core/key_opener.h"
#include "core/key_service_impl.h"

namespace betrace::kms {

class Migrator final : public MigrationControl {
 public:
  // All of them must outlive it.
  struct Parts {
    KeyStore& store;
    KeyOpener& opener;
    KeyServiceImpl& keys;
    Executor& provider_threads;
    Executor& store_threads;
    const Clock& clock;
    std::string node;
  };
  struct Options {
    std::uint64_t calls_per_second = 0;
    std::chrono::milliseconds lease{std::chrono::seconds(30)};
    std::size_t batch_size = 100;
  };
  Migrator(Parts parts, Options options);
  // Stops a run between two keys.
  ~Migrator() override;
  void begin();  // its thread
  // Does the run that was asked for, or goes on with one whose daemon has gone.
  void tick(std::stop_token stop);

  void start(CallContext call, Done<MigrationRun> done) override;
  void state(CallContext call, Done<MigrationState> done) override;

 private:
  struct Begun {
    MigrationRun run;
    std::uint64_t fence = 0;
  };
  struct Moved {
    KeyRecord key;
    std::vector<Wrapping> wrappings;  // the new ones
  };
  Result<Begun> begin_run(const CallContext& call);
  std::optional<Begun> take_over(const CallContext& call);
  bool is_ours(const CallContext& call, const MigrationRun& run);
  void execute(Begun begun, std::stop_token stop);
  bool move(Begun& begun, const std::vector<KeyRecord>& keys, std::stop_token stop);
  Status store(Begun& begun, const std::vector<Moved>& moved);
  void fail_key(Begun& begun, const KeyRecord& key, const Error& error);
  Result<MigrationState> state_now(const CallContext& call);

  const Parts parts_;
  const Options options_;
  CallBudget budget_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool busy_ = false;
  std::optional<Begun> requested_;
  int ticks_ = 0;
  std::string others_run_;  // the id of one that goes elsewhere; of the thread
  std::jthread thread_;
};

}  // namespace betrace::kms
