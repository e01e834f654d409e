#include <algorithm>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>
#include <pthread.h>

#include "app/wiring.h"
#include "app/wiring_doctor.h"
#include "app/wiring_parts.h"
#include "app/wiring_provider.h"
#include "app/wiring_traces.h"
#include "base/try.h"
#include "net/curl_client.h"
#include "providers/catalog.h"
#include "stores/sqlite_store.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

milliseconds ms(const Config& config, std::string_view key) {
  return milliseconds(config.integer(key));
}

CallContext start_up_call() {
  auto call = CallContext::system("start-up");
  call.deadline = system_clock().steady_now() + seconds(10);
  return call;
}

RetryOptions retry_options(const Config& config) {
  return {.max_retries = static_cast<int>(config.integer("kms.retry.max-retries")),
          .delay = ms(config, "kms.retry.delay-ms"),
          .jitter = ms(config, "kms.retry.jitter-ms"),
          .timeout = ms(config, "kms.timeout-ms")};
}

BreakerOptions breaker_options(const Config& config) {
  const auto count = [&](std::string_view key) {
    return static_cast<std::size_t>(config.integer(key));
  };
  return {.request_volume = count("kms.circuit-breaker.request-volume"),
          .failure_ratio = config.ratio("kms.circuit-breaker.failure-ratio"),
          .delay = ms(config, "kms.circuit-breaker.delay-ms"),
          .success_threshold = count("kms.circuit-breaker.success-threshold")};
}

KeyServiceOptions key_service_options(const Config& config) {
  const auto entries = static_cast<std::size_t>(config.integer("kms.cache.max-size"));
  const minutes stale(config.integer("kms.cache.stale-minutes"));
  const auto cache = [&](auto unit, std::string_view key) {
    return KeyCacheOptions{
        .ttl = decltype(unit)(config.integer(key)), .max_size = entries, .stale = stale};
  };
  return {.private_keys = cache(minutes(), "kms.cache.private-key-ttl-minutes"),
          .public_keys = cache(hours(), "kms.cache.public-key-ttl-hours"),
          .encryption_keys = cache(minutes(), "kms.cache.encryption-key-ttl-minutes"),
          .nonces = {}};
}

// What is too slow for a request is too slow for its probe.
MonitorOptions monitor_options(const Config& config) {
  MonitorOptions options;
  options.call_timeout = std::min(ms(config, "kms.timeout-ms"), options.call_timeout);
  return options;
}

double gauge_value(BreakerState state) {
  switch (state) {
    case BreakerState::closed:
      return 0;
    case BreakerState::open:
      return 1;
    case BreakerState::half_open:
      return 2;
  }
  return 1;
}

CircuitBreaker::Listener breaker_listener(prometheus::Gauge& gauge) {
  return [&gauge](const std::string& name, BreakerState state) {
    gauge.Set(gauge_value(state));
    auto& log = logger(log_category::kms);
    switch (state) {
      case BreakerState::open:
        log.warn("Circuit breaker '{}' is OPEN - blocking all requests", name);
        return;
      case BreakerState::half_open:
        log.info("Circuit breaker '{}' is HALF_OPEN - testing recovery", name);
        return;
      case BreakerState::closed:
        log.info("Circuit breaker '{}' is CLOSED - normal operation", name);
    }
  };
}

// A provider instance behind a breaker and a guard for each key type. `suffix` keeps the breakers
// of several instances apart: "@local".
ProviderPair guard(Core::Parts& parts, const Config& config, Provider& provider,
                   const std::string& suffix) {
  const auto made = [&](const char* name) -> Provider* {
    const auto full_name = name + suffix;
    parts.breakers.push_back(std::make_unique<CircuitBreaker>(
        full_name, breaker_options(config), system_clock(),
        breaker_listener(parts.metrics->breaker_state(full_name))));
    parts.guarded.push_back(std::make_unique<GuardedProvider>(provider, *parts.breakers.back(),
                                                              retry_options(config), system_clock(),
                                                              *parts.metrics, parts.traces()));
    return parts.guarded.back().get();
  };
  return {.signing = made("kms-signing-key"), .encryption = made("kms-encryption-key")};
}

Result<std::unique_ptr<KeyStore>> open_store(const Config& config) {
  return open_sqlite_store({.path = TRY(store_file(config)),
                            .busy_timeout = milliseconds(2000),
                            .readers = 4,
                            .skip_own_changes = true});
}

Result<std::unique_ptr<Provider>> open_provider(Core::Parts& parts, const Config& config,
                                                std::string_view name, bool may_create_master_key,
                                                const std::string& prefix = {}) {
  const auto variable = [](const char* variable) -> std::optional<std::string> {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  };
  return make_provider(
      name, provider_environment(config, *parts.http, variable, may_create_master_key, prefix));
}

// A further instance, read with the settings of its name under a prefix.
Result<std::optional<ProviderPair>> open_further(Core::Parts& parts, const Config& config,
                                                 const std::string& which,
                                                 bool may_create_master_key = false) {
  const auto name = config.text("betrace.kms." + which + "-provider");
  if (name.empty()) return std::nullopt;
  auto provider =
      open_provider(parts, config, name, may_create_master_key, "betrace.kms." + which + ".");
  if (!provider) {
    provider.error().message =
        fmt::format("betrace.kms.{}-provider={}: {}", which, name, provider.error().message);
    return std::unexpected(std::move(provider).error());
  }
  parts.further.push_back(*std::move(provider));
  return guard(parts, config, *parts.further.back(), "@" + which);
}

// Rows wrapped by `local` stay readable under any provider, while the local master key is there.
void open_local_rows(Core::Parts& parts, const Config& config) {
  auto local = open_provider(parts, config, "local", false);
  if (!local) {
    logger(log_category::kms)
        .warn("The store holds keys wrapped by 'local' that cannot be opened: {}",
              local.error().message);
    return;
  }
  logger(log_category::kms)
      .info("Keys wrapped by 'local' stay readable through the local master key");
  parts.further.push_back(*std::move(local));
}

// What nobody configured can open is said at each start, and ends it when that is asked for.
Status check_wrappings(const Core::Parts& parts, const Config& config,
                       const std::vector<WrappingCount>& wrappings) {
  for (const auto& each : wrappings) {
    if (parts.opener->knows(each.provider)) continue;
    const auto text = fmt::format(
        "the store holds {} keys wrapped by '{}' ({}), which no configured provider opens; set "
        "betrace.kms.previous-provider={} and its settings under betrace.kms.previous.",
        each.keys, each.provider, each.master_key_id, each.provider);
    if (config.flag("betrace.kms.strict-wrappings")) {
      return fail(ErrorCode::wrapped_elsewhere, "betrace.kms.strict-wrappings: " + text);
    }
    logger(log_category::kms).warn("{}", text);
  }
  return {};
}

Status make_providers(Core::Parts& parts, const Config& config) {
  auto& log = logger(log_category::kms);
  const auto name = config.text("betrace.kms.provider");
  const auto wrappings = TRY(parts.store->wrapping_counts(start_up_call()));
  const bool local_rows =
      std::ranges::find(wrappings, "local", &WrappingCount::provider) != wrappings.end();
  log.info("Initializing KMS provider: {}", name);
  parts.provider = TRY(open_provider(parts, config, name, !local_rows));
  if (parts.provider->name() == "local") {
    log.warn("⚠️  Using LocalKmsAdapter - NOT FOR PRODUCTION USE");
  } else {
    log.info("Using {}", parts.provider->description());
    if (local_rows) open_local_rows(parts, config);
  }
  parts.metrics = std::make_unique<Metrics>(parts.provider->name());
  TRY(make_tracer(parts, config));
  const auto current = guard(parts, config, *parts.provider, "");
  // No provider is ever called for a public key; its breaker is there for those who watch it.
  parts.breakers.push_back(std::make_unique<CircuitBreaker>(
      "kms-public-key", breaker_options(config), system_clock(),
      breaker_listener(parts.metrics->breaker_state("kms-public-key"))));
  std::vector<ProviderPair> others;
  if (!parts.further.empty()) {
    others.push_back(guard(parts, config, *parts.further.back(), "@local"));
  }
  if (const auto previous = TRY(open_further(parts, config, "previous"))) {
    log.info("Reading keys of the previous provider: {}", parts.further.back()->description());
    others.push_back(*previous);
  }
  const auto second = TRY(open_further(parts, config, "second", !local_rows));
  if (second) {
    parts.second = parts.further.back().get();
    log.info("Wrapping every key twice, also by the second provider: {}",
             parts.second->description());
  }
  parts.opener = std::make_unique<KeyOpener>(current, std::move(others), second);
  return check_wrappings(parts, config, wrappings);
}

RotationOptions rotation_options(const Config& config) {
  return {.max_age = days(config.integer("kms.rotation.max-age-days")),
          .batch_size = static_cast<std::size_t>(config.integer("kms.rotation.batch-size")),
          .stagger = ms(config, "kms.rotation.stagger-delay-ms"),
          .parallel = static_cast<std::size_t>(config.integer("kms.rotation.parallel-threads")),
          .calls_per_second = static_cast<std::uint64_t>(config.integer("kms.calls-per-second")),
          .keep_seeds = days(config.integer("kms.rotation.keep-signing-seed-days")),
          .lease = seconds(config.integer("betrace.kms.node-lease-seconds"))};
}

// What ends keys and what makes new ones in time, over the service that uses them.
Status make_life_of_keys(Core::Parts& parts, const Config& config) {
  const auto options = rotation_options(config);
  parts.membership = std::make_unique<Membership>(
      Membership::Parts{.store = *parts.store, .keys = *parts.keys, .clock = system_clock()},
      Membership::make_node_name(), options.lease);
  parts.epochs =
      std::make_unique<EpochKeeper>(EpochKeeper::Parts{.store = *parts.store,
                                                       .service_key = parts.keys->service_key(),
                                                       .witness = *parts.witness,
                                                       .clock = system_clock()});
  parts.lifecycle = std::make_unique<Lifecycle>(
      LifecycleParts{.store = *parts.store,
                     .keys = *parts.keys,
                     .membership = *parts.membership,
                     .epochs = *parts.epochs,
                     .witness = *parts.witness,
                     .provider_threads = *parts.provider_threads,
                     .clock = system_clock(),
                     .before_revocation = [&parts] { publish_evidence(parts); }},
      LifecycleOptions{.ciphertext_age_max =
                           days(config.integer("kms.rotation.max-ciphertext-age-days"))});
  auto schedule = TRY(RotationSchedule::make(*parts.store, system_clock(),
                                             {.enabled = config.flag("kms.rotation.enabled"),
                                              .cron = config.text("kms.rotation.check-cron"),
                                              .time_zone = config.text("kms.rotation.time-zone")}));
  parts.rotation =
      std::make_unique<Rotation>(RotationParts{.store = *parts.store,
                                               .keys = *parts.keys,
                                               .store_threads = *parts.store_threads,
                                               .provider_threads = *parts.provider_threads,
                                               .clock = system_clock(),
                                               .metrics = *parts.metrics,
                                               .node = parts.membership->node()},
                                 options, std::move(schedule));
  parts.migrator = std::make_unique<Migrator>(
      Migrator::Parts{.store = *parts.store,
                      .opener = *parts.opener,
                      .keys = *parts.keys,
                      .provider_threads = *parts.provider_threads,
                      .store_threads = *parts.store_threads,
                      .clock = system_clock(),
                      .node = parts.membership->node()},
      Migrator::Options{.calls_per_second = options.calls_per_second, .lease = options.lease});
  return {};
}

Status make_service(Core::Parts& parts, const Config& config) {
  const auto cores = std::max(1U, std::thread::hardware_concurrency());
  parts.store_threads.emplace(
      ThreadPool::Options{.name = "kms-store", .threads = 4, .queue_max = 2048});
  parts.provider_threads.emplace(
      ThreadPool::Options{.name = "kms-provider", .threads = 16, .queue_max = 2048});
  parts.heavy_threads.emplace(
      ThreadPool::Options{.name = "kms-heavy", .threads = cores, .queue_max = 256});
  parts.keys =
      std::make_unique<KeyServiceImpl>(KeyServiceParts{.store = *parts.store,
                                                       .opener = *parts.opener,
                                                       .store_threads = *parts.store_threads,
                                                       .provider_threads = *parts.provider_threads,
                                                       .clock = system_clock(),
                                                       .metrics = *parts.metrics,
                                                       .tracer = parts.traces()},
                                       key_service_options(config));
  TRY(make_life_of_keys(parts, config));
  parts.metrics->set_cache_report([keys = parts.keys.get()] { return keys->cache_report(); });

  std::vector<CircuitBreaker*> ticking;
  std::vector<const CircuitBreaker*> watched;
  for (const auto& breaker : parts.breakers) {
    ticking.push_back(breaker.get());
    watched.push_back(breaker.get());
  }
  parts.monitor.emplace(MonitorParts{.provider = *parts.provider,
                                     .breakers = std::move(watched),
                                     .keys = *parts.keys,
                                     .provider_threads = *parts.provider_threads,
                                     .clock = system_clock(),
                                     .metrics = *parts.metrics},
                        monitor_options(config));
  if (parts.second != nullptr) {
    parts.second_monitor.emplace(MonitorParts{.provider = *parts.second,
                                              .breakers = {},
                                              .keys = *parts.keys,
                                              .provider_threads = *parts.provider_threads,
                                              .clock = system_clock(),
                                              .metrics = *parts.metrics,
                                              .instance = "@second"},
                                 monitor_options(config));
  }
  parts.doctor = make_service_doctor(parts, config);
  parts.housekeeper.emplace(Housekeeper::Parts{.keys = *parts.keys,
                                               .membership = *parts.membership,
                                               .lifecycle = *parts.lifecycle,
                                               .epochs = *parts.epochs,
                                               .store_threads = *parts.store_threads,
                                               .provider_threads = *parts.provider_threads,
                                               .clock = system_clock()},
                            std::move(ticking));
  return {};
}

void warm(KeyServiceImpl& keys, std::size_t tenants_max) {
  auto& log = logger(log_category::kms);
  log.info("Warming KMS cache...");
  const auto warmed = keys.warm(tenants_max);
  if (warmed) {
    log.info("KMS cache warmed ({} tenants)", *warmed);
  } else {
    log.warn("KMS cache was not warmed: {}", warmed.error().message);
  }
}

}  // namespace

Core::Core(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Result<std::unique_ptr<Core>> Core::open(const Config& config) {
  auto parts = std::make_unique<Parts>();
  parts->store = TRY(open_store(config));
  TRY(check_history(*parts, config));
  parts->http = std::make_unique<HttpObserver>(make_http_client(), system_clock());
  TRY(make_providers(*parts, config));
  TRY(make_service(*parts, config));
  TRY(make_evidence_log(*parts, config));
  std::unique_ptr<Core> core(new Core(std::move(parts)));
  // From here on nothing that another daemon changes is missed.
  TRY(core->parts_->keys->follow_changes());
  // On a full disk there is much that can still be done.
  if (const auto said = core->parts_->membership->beat(); !said) {
    logger(log_category::kms)
        .warn("cannot say that this daemon is alive: {}", said.error().message);
  }
  // One that answers from memory is known to be up before anybody can ask.
  if (!core->parts_->provider->remote()) core->parts_->monitor->probe();
  return core;
}

void Core::start(const Config& config) {
  auto* const keys = parts_->keys.get();
  parts_->monitor->start();
  if (parts_->second_monitor) parts_->second_monitor->start();
  parts_->doctor->start();
  parts_->housekeeper->start();
  parts_->rotation->begin();
  parts_->migrator->begin();
  const auto tenants = static_cast<std::size_t>(config.integer("kms.cache.warm-tenants"));
  parts_->warming = std::jthread([keys, tenants] {
    pthread_setname_np(pthread_self(), "kms-warm");
    if (const auto status = keys->refresh_metrics(); !status) {
      logger(log_category::kms).warn("cannot read metrics: {}", status.error().message);
    }
    if (tenants > 0) warm(*keys, tenants);
  });
}

Core::~Core() {
  auto& parts = *parts_;
  // Those who make work first, then those who do it, then what they do it with.
  parts.doctor.reset();
  parts.evidence_log.reset();
  parts.push.reset();
  parts.rotation.reset();
  parts.migrator.reset();
  parts.housekeeper.reset();
  parts.second_monitor.reset();
  parts.monitor.reset();
  if (parts.warming.joinable()) parts.warming.join();
  parts.provider_threads->stop();
  parts.store_threads->stop();
  parts.heavy_threads->stop();
  if (parts.membership) parts.membership->leave();
  if (const auto written = parts.keys->write_activity(); !written) {
    logger(log_category::kms)
        .warn("the last activity was not written: {}", written.error().message);
  }
  if (const auto kept = parts.epochs->keep(); !kept) {
    logger(log_category::kms).warn("the store's epoch was not moved on: {}", kept.error().message);
  }
  parts.metrics->set_cache_report({});
}

KeyService& Core::keys() { return *parts_->keys; }

std::string Core::store_description() const { return parts_->store->description(); }

}  // namespace betrace::kms
