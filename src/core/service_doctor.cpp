#include "core/service_doctor.h"

#include <algorithm>

#include <pthread.h>

#include "base/try.h"
#include "core/doctor_rules.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds between_refreshes{10};
// A store so large that reading its counts takes long is read less often.
constexpr int rests_as_long = 100;

}  // namespace

ServiceDoctor::ServiceDoctor(Parts parts, ConfigFacts config)
    : parts_(std::move(parts)), config_(std::move(config)), meter_(parts_.clock.steady_now()) {}

ServiceDoctor::~ServiceDoctor() = default;

void ServiceDoctor::start() {
  thread_ = std::jthread([this](std::stop_token stop) {
    pthread_setname_np(pthread_self(), "kms-doctor");
    milliseconds pause{0};
    while (parts_.clock.sleep_for(pause, stop)) {
      const auto begun = parts_.clock.steady_now();
      refresh();
      const auto took = std::chrono::ceil<milliseconds>(parts_.clock.steady_now() - begun);
      pause = std::max<milliseconds>(between_refreshes, took * rests_as_long);
    }
  });
}

Status ServiceDoctor::fill(StoreFacts& facts, SystemTime overdue) {
  auto call = CallContext::system("doctor");
  call.deadline = std::chrono::steady_clock::now() + seconds(10);
  const auto counts = TRY(parts_.store.counts(call));
  facts.tenants = counts.tenants;
  facts.oldest_active_key = counts.oldest_active_key;
  facts.overdue_tenants = TRY(parts_.store.count_tenants_with_keys_before(call, overdue));
  facts.holders = TRY(wait<MigrationState>([&](auto done) {
                    parts_.migration.state(call, std::move(done));
                  })).holders;
  if (parts_.second == nullptr) return {};
  const auto one = parts_.monitor.last_probe(), two = parts_.second->last_probe();
  if (one.wraps_under.empty() || two.wraps_under.empty()) return {};
  const MasterKey both[] = {{.provider = one.provider, .master_key_id = one.wraps_under},
                            {.provider = two.provider, .master_key_id = two.wraps_under}};
  facts.not_wrapped_twice = TRY(parts_.store.count_keys_not_wrapped_by(call, both));
  return {};
}

StoreFacts ServiceDoctor::read_store(const StoreFacts& before) {
  StoreFacts facts = before;
  facts.error.reset();
  // What is due since yesterday's run is today's run's work.
  const auto grace = std::chrono::days(config_.rotation_enabled ? 1 : 0);
  const auto overdue = parts_.clock.now() - config_.rotation_max_age - grace;
  if (const auto read = fill(facts, overdue); !read) {
    facts.error = read.error();
  }
  return facts;
}

void ServiceDoctor::refresh() {
  meter_.sample(parts_.clock.steady_now(), counters());
  StoreFacts before;
  {
    const std::lock_guard lock(mutex_);
    before = store_.value_or(StoreFacts());
  }
  auto store = read_store(before);
  auto host = parts_.host ? parts_.host() : HostFacts();
  auto evidence = parts_.evidence ? std::optional(parts_.evidence()) : std::nullopt;
  const std::lock_guard lock(mutex_);
  store_ = std::move(store);
  host_ = std::move(host);
  evidence_ = std::move(evidence);
}

UsageMeter::Counters ServiceDoctor::counters() const {
  const auto caches = parts_.keys.cache_report();
  auto& metrics = parts_.metrics;
  const auto value = [](const auto& counter) {
    return static_cast<std::uint64_t>(counter.Value());
  };
  const auto refused = value(metrics.decryptions_failure);
  return {.signing = caches.private_keys,
          .encryption = caches.encryption_keys,
          .decryptions = value(metrics.decryptions_success) + refused,
          .refused_ciphertexts = refused,
          .refused_wrappings = value(metrics.errors("decrypt", ErrorCode::invalid_ciphertext))};
}

DoctorReport ServiceDoctor::report() const {
  DoctorFacts facts{.now = parts_.clock.now(), .config = config_};
  facts.provider = ProviderFacts{.probe = parts_.monitor.last_probe(), .remedies = parts_.remedies};
  if (parts_.exchanges) parts_.exchanges(*facts.provider);
  if (parts_.second != nullptr) {
    facts.second =
        ProviderFacts{.probe = parts_.second->last_probe(), .remedies = parts_.second_remedies};
  }
  facts.breakers = parts_.monitor.breakers();
  facts.usage = meter_.since_an_hour(parts_.clock.steady_now(), counters());
  {
    const std::lock_guard lock(mutex_);
    facts.store = store_;
    facts.host = host_;
    facts.evidence = evidence_;
  }
  return diagnose(facts);
}

}  // namespace betrace::kms
