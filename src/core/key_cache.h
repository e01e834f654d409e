// Keys by tenant and version, unwrapped, for a while. One load per key however many callers miss
// at once, and those who wait are continuations, not threads. A hit takes one shared lock of one of
// 64 shards and touches nothing else. Bounded: over `max_size` the least recently used of a sample
// goes. A key in use is loaded again in the background at 80 % of its time to live, so that an
// outage finds it fresh. Errors are never cached; an unknown tenant is remembered for a second.
// While the provider is down a key may be used for `stale` past its time to live, and says so. What
// was read before an eviction is never answered after it. Thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/result.h"
#include "betrace/kms/tenant.h"

#include "core/cache_ghost.h"

namespace betrace::kms {

// Version 0 stands for the active one, whichever that is.
struct CacheKey {
  std::string tenant;
  std::uint32_t version = 0;
};
struct CacheKeyView {
  std::string_view tenant;
  std::uint32_t version = 0;
};

struct CacheKeyHash {
  using is_transparent = void;
  using is_avalanching = void;
  // The finaliser of SplitMix64; the version leaves the shard's bits alone, so that all versions
  // of a tenant live in one shard.
  template <class Key>
  std::size_t operator()(const Key& key) const {
    auto hash = std::hash<std::string_view>{}(key.tenant);
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9U;
    return (hash ^ (hash >> 27)) ^ (key.version * 0x9e3779b97f4a7c15U & ~shard_bits);
  }
  static constexpr std::size_t shard_bits = std::size_t{63} << 28;
};
struct CacheKeyEqual {
  using is_transparent = void;
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return a.version == b.version && std::string_view(a.tenant) == std::string_view(b.tenant);
  }
};

struct KeyCacheOptions {
  std::chrono::milliseconds ttl{std::chrono::minutes(60)};
  std::size_t max_size = 1000;
  std::chrono::milliseconds stale{0};
};

// Whether an error means that the provider cannot be reached, not that it refuses.
inline bool is_outage(ErrorCode code) {
  return code == ErrorCode::kms_unavailable || code == ErrorCode::kms_timeout ||
         code == ErrorCode::circuit_open;
}

template <class Value>
class KeyCache {
 public:
  using Pointer = std::shared_ptr<const Value>;
  struct Found {
    Pointer value;
    bool stale = false;
    explicit operator bool() const { return value != nullptr; }
    const Value& operator*() const { return *value; }
    const Value* operator->() const { return value.get(); }
  };
  // Loads one key; may call `done` at once or later, from any thread.
  using Loader = std::function<void(const CallContext&, const CacheKey&, Done<Pointer>)>;

  KeyCache(KeyCacheOptions options, const Clock& clock, Loader loader)
      : options_(options),
        clock_(clock),
        loader_(std::move(loader)),
        ghost_(options.max_size, options.ttl) {}

  // The key if it is here and may be used, counted as a hit; nothing else is counted.
  Found find(const TenantId& tenant, std::uint32_t version = 0);
  // As find(), without a trace: for work that is not the tenant's own.
  Pointer peek(const TenantId& tenant, std::uint32_t version = 0) const;
  // For a caller whose find() found nothing: counts a miss, and loads or joins the load.
  void load(const CallContext& call, const TenantId& tenant, std::uint32_t version,
            Done<Found> done);
  // Drops every version of the tenant; a load under way begins anew.
  void evict(const TenantId& tenant);
  void evict_everything();
  // Drops what has expired.
  void sweep();
  // Tenants used since `since`, each once.
  std::vector<TenantId> used_since(std::chrono::steady_clock::time_point since) const;

  CacheStatistics statistics() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t shard_count = 64;
  static constexpr std::size_t sample_min = 32;
  static constexpr std::size_t unknown_max = 64;  // per shard
  static constexpr std::chrono::seconds unknown_ttl{1};
  // How long a stale key is used before the provider is asked again.
  static constexpr std::chrono::seconds stale_pause{1};
  static constexpr int loads_max = 4;  // of one key, each overtaken by an eviction

  struct Entry {
    Pointer value;
    Time expires_at, refresh_at;
    bool outage = false;             // the last attempt to load it again met one
    Time stale_until = Time::min();  // when to try again, past expires_at
    mutable Time::rep last_used = 0;
  };
  struct Load {
    CallContext call;
    std::vector<Done<Found>> waiting = {};
    bool evicted = false;  // what it reads may be of before
    int count = 1;
  };
  using LoadPointer = std::shared_ptr<Load>;
  using Map = boost::unordered_flat_map<CacheKey, Entry, CacheKeyHash, CacheKeyEqual>;
  struct alignas(64) Shard {
    mutable std::shared_mutex mutex;
    Map entries;
    std::unordered_map<CacheKey, LoadPointer, CacheKeyHash, CacheKeyEqual> loads;
    std::unordered_map<std::string, Time> unknown;
    mutable std::atomic<std::uint64_t> hits{0};
  };

  static Time::rep last_used_of(const typename Map::value_type& item) {
    return std::atomic_ref(item.second.last_used).load(std::memory_order_relaxed);
  }
  Shard& shard_of(std::size_t hash) { return shards_[(hash & CacheKeyHash::shard_bits) >> 28]; }
  Found find_usable(const Shard& shard, const CacheKeyView& key, bool& refresh) const;
  Found find_stale(Shard& shard, const CacheKeyView& key, bool outage);
  void begin(Shard& shard, const CacheKey& key, const LoadPointer& load);
  bool begin_again(Shard& shard, const CacheKey& key, const LoadPointer& load);
  void finish(Shard& shard, const CacheKey& key, const LoadPointer& load, Result<Pointer> result);
  Result<Found> settle(Shard& shard, const CacheKey& key, Result<Pointer> result);
  void refresh(Shard& shard, const CacheKeyView& key);
  void remember(Shard& shard, const CacheKey& key, Pointer value);
  void make_room();
  void count_miss(const Shard& shard, const CacheKeyView& key);
  Time loaded_at(const Entry& entry) const { return entry.expires_at - options_.ttl; }

  const KeyCacheOptions options_;
  const Clock& clock_;
  const Loader loader_;
  CacheGhost ghost_;
  std::array<Shard, shard_count> shards_;
  std::atomic<std::size_t> size_{0};
  std::atomic<std::size_t> hand_{0};
  std::atomic<std::uint64_t> misses_{0}, evicted_size_{0}, evicted_expired_{0},
      evicted_explicit_{0};
};

template <class Value>
auto KeyCache<Value>::find_usable(const Shard& shard, const CacheKeyView& key, bool& refresh) const
    -> Found {
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) return {};
  const Entry& entry = found->second;
  const auto now = clock_.coarse_now();
  const bool stale = now >= entry.expires_at;
  if (stale && now >= entry.stale_until) return {};
  std::atomic_ref last_used(entry.last_used);
  const auto ticks = now.time_since_epoch().count();
  if (last_used.load(std::memory_order_relaxed) != ticks) {
    last_used.store(ticks, std::memory_order_relaxed);
  }
  refresh = !stale && now >= entry.refresh_at;
  return {entry.value, stale};
}

// A key that an outage keeps from being loaded again, while its window is open: usable for a
// moment. `outage`: a load has met one just now.
template <class Value>
auto KeyCache<Value>::find_stale(Shard& shard, const CacheKeyView& key, bool outage) -> Found {
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) return {};
  Entry& entry = found->second;
  entry.outage = entry.outage || outage;
  const auto now = clock_.coarse_now();
  const auto end = entry.expires_at + options_.stale;
  if (!entry.outage || now >= end) return {};
  const bool stale = now >= entry.expires_at;
  if (stale) entry.stale_until = std::min<Time>(end, now + stale_pause);
  return {entry.value, stale};
}

template <class Value>
auto KeyCache<Value>::peek(const TenantId& tenant, std::uint32_t version) const -> Pointer {
  const CacheKeyView key{tenant.str(), version};
  const Shard& shard = shards_[(CacheKeyHash{}(key)&CacheKeyHash::shard_bits) >> 28];
  const std::shared_lock lock(shard.mutex);
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end() || clock_.coarse_now() >= found->second.expires_at) return {};
  return found->second.value;
}

template <class Value>
auto KeyCache<Value>::find(const TenantId& tenant, std::uint32_t version) -> Found {
  const CacheKeyView key{tenant.str(), version};
  Shard& shard = shard_of(CacheKeyHash{}(key));
  bool refresh_due = false;
  Found value;
  {
    const std::shared_lock lock(shard.mutex);
    value = find_usable(shard, key, refresh_due);
    if (value) shard.hits.fetch_add(1, std::memory_order_relaxed);
  }
  if (refresh_due) refresh(shard, key);
  return value;
}

template <class Value>
void KeyCache<Value>::load(const CallContext& call, const TenantId& tenant, std::uint32_t version,
                           Done<Found> done) {
  CacheKey key{tenant.str(), version};
  Shard& shard = shard_of(CacheKeyHash{}(key));
  misses_.fetch_add(1, std::memory_order_relaxed);
  LoadPointer load;
  {
    std::unique_lock lock(shard.mutex);
    bool refresh_due = false;
    if (auto value = find_usable(shard, {key.tenant, version}, refresh_due)) {
      lock.unlock();
      done(std::move(value));
      return;
    }
    if (const auto unknown = shard.unknown.find(key.tenant); unknown != shard.unknown.end()) {
      if (clock_.coarse_now() < unknown->second) {
        lock.unlock();
        done(fail(ErrorCode::tenant_not_found, "tenant '" + key.tenant + "' does not exist"));
        return;
      }
      shard.unknown.erase(unknown);
    }
    count_miss(shard, {key.tenant, version});
    const auto stale = find_stale(shard, {key.tenant, version}, false);
    auto& running = shard.loads[key];
    if (!running) load = running = std::make_shared<Load>(Load{.call = call});
    if (stale) {
      lock.unlock();
      done(stale);
    } else {
      running->waiting.push_back(std::move(done));
    }
  }
  if (load) begin(shard, key, load);
}

// Whether other limits would have had it.
template <class Value>
void KeyCache<Value>::count_miss(const Shard& shard, const CacheKeyView& key) {
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) {
    ghost_.missed(CacheKeyHash{}(key), clock_.coarse_now());
  } else {
    ghost_.missed_expired(loaded_at(found->second), clock_.coarse_now());
  }
}

template <class Value>
void KeyCache<Value>::refresh(Shard& shard, const CacheKeyView& view) {
  CacheKey key{std::string(view.tenant), view.version};
  LoadPointer load;
  {
    const std::unique_lock lock(shard.mutex);
    const auto found = shard.entries.find(view);
    if (found == shard.entries.end() || clock_.coarse_now() < found->second.refresh_at) return;
    // Whatever becomes of this attempt, the next one is due a twentieth of the life later.
    found->second.refresh_at = clock_.coarse_now() + options_.ttl / 20;
    auto& running = shard.loads[key];
    if (running) return;
    load = running = std::make_shared<Load>(Load{.call = CallContext::system("cache-refresh")});
  }
  begin(shard, key, load);
}

template <class Value>
void KeyCache<Value>::begin(Shard& shard, const CacheKey& key, const LoadPointer& load) {
  // The load belongs to all who wait: it must not end with the first caller's patience.
  load->call.cancelled = {};
  loader_(load->call, key, [this, &shard, key, load](Result<Pointer> result) {
    finish(shard, key, load, std::move(result));
  });
}

// A load that an eviction has overtaken: its waiters are owed what is in the store now.
template <class Value>
bool KeyCache<Value>::begin_again(Shard& shard, const CacheKey& key, const LoadPointer& load) {
  LoadPointer again;
  {
    const std::unique_lock lock(shard.mutex);
    if (!load->evicted || load->waiting.empty() || load->count == loads_max) return false;
    auto& running = shard.loads[key];
    if (running) {
      std::ranges::move(load->waiting, std::back_inserter(running->waiting));
      load->waiting.clear();
      return true;
    }
    again = running = std::make_shared<Load>(
        Load{.call = load->call, .waiting = std::move(load->waiting), .count = load->count + 1});
  }
  begin(shard, key, again);
  return true;
}

template <class Value>
void KeyCache<Value>::finish(Shard& shard, const CacheKey& key, const LoadPointer& load,
                             Result<Pointer> result) {
  if (begin_again(shard, key, load)) return;
  std::vector<Done<Found>> waiting;
  Result<Found> answer = fail(ErrorCode::overloaded, "the keys of tenant '" + key.tenant +
                                                         "' change faster than they can be read");
  {
    const std::unique_lock lock(shard.mutex);
    waiting = std::move(load->waiting);
    if (!load->evicted) {
      shard.loads.erase(key);
      answer = settle(shard, key, std::move(result));
    }
  }
  if (answer) make_room();
  for (auto& done : waiting) done(answer);
}

// What a load's waiters are answered, and what the cache keeps of it.
template <class Value>
auto KeyCache<Value>::settle(Shard& shard, const CacheKey& key, Result<Pointer> result)
    -> Result<Found> {
  if (result) {
    remember(shard, key, *result);
    return Found{*std::move(result)};
  }
  if (is_outage(result.error().code)) {
    if (auto stale = find_stale(shard, {key.tenant, key.version}, true)) return stale;
  }
  if (result.error().code == ErrorCode::tenant_not_found) {
    if (shard.unknown.size() >= unknown_max) shard.unknown.clear();
    shard.unknown.insert_or_assign(key.tenant, clock_.coarse_now() + unknown_ttl);
  }
  return std::unexpected(std::move(result).error());
}

template <class Value>
void KeyCache<Value>::remember(Shard& shard, const CacheKey& key, Pointer value) {
  const auto now = clock_.coarse_now();
  Entry entry{.value = std::move(value),
              .expires_at = now + options_.ttl,
              .refresh_at = now + options_.ttl * 4 / 5,
              .last_used = now.time_since_epoch().count()};
  if (shard.entries.insert_or_assign(key, std::move(entry)).second) size_.fetch_add(1);
}

// The least recently used of a sample goes: exact for a small cache, near enough for a large one.
template <class Value>
void KeyCache<Value>::make_room() {
  while (size_.load() > options_.max_size) {
    Shard* shard_of_oldest = nullptr;
    CacheKey oldest_key;
    auto oldest = std::numeric_limits<Time::rep>::max();
    std::size_t examined = 0;
    for (std::size_t n = 0; n < shard_count && examined < sample_min; ++n) {
      Shard& shard = shards_[hand_.fetch_add(1, std::memory_order_relaxed) % shard_count];
      const std::shared_lock lock(shard.mutex);
      examined += shard.entries.size();
      const auto candidate = std::ranges::min_element(shard.entries, {}, last_used_of);
      if (candidate == shard.entries.end() || last_used_of(*candidate) >= oldest) continue;
      oldest = last_used_of(*candidate);
      oldest_key = candidate->first;
      shard_of_oldest = &shard;
    }
    if (shard_of_oldest == nullptr) return;
    const std::unique_lock lock(shard_of_oldest->mutex);
    const auto gone = shard_of_oldest->entries.find(oldest_key);
    if (gone == shard_of_oldest->entries.end()) continue;
    ghost_.left(CacheKeyHash{}(oldest_key), CacheGhost::Cause::room, loaded_at(gone->second));
    shard_of_oldest->entries.erase(gone);
    size_.fetch_sub(1);
    evicted_size_.fetch_add(1, std::memory_order_relaxed);
  }
}

template <class Value>
void KeyCache<Value>::evict(const TenantId& tenant) {
  Shard& shard = shard_of(CacheKeyHash{}(CacheKeyView{tenant.str()}));
  const std::unique_lock lock(shard.mutex);
  shard.unknown.erase(tenant.str());
  for (auto it = shard.loads.begin(); it != shard.loads.end();) {
    const bool same = it->first.tenant == tenant.str();
    if (same) it->second->evicted = true;
    it = same ? shard.loads.erase(it) : std::next(it);
  }
  const auto erased =
      erase_if(shard.entries, [&](const auto& item) { return item.first.tenant == tenant.str(); });
  size_.fetch_sub(erased);
  evicted_explicit_.fetch_add(erased, std::memory_order_relaxed);
}

template <class Value>
void KeyCache<Value>::evict_everything() {
  for (auto& shard : shards_) {
    const std::unique_lock lock(shard.mutex);
    for (auto& [key, load] : shard.loads) load->evicted = true;
    shard.loads.clear();
    shard.unknown.clear();
    size_.fetch_sub(shard.entries.size());
    evicted_explicit_.fetch_add(shard.entries.size(), std::memory_order_relaxed);
    shard.entries.clear();
  }
}

template <class Value>
void KeyCache<Value>::sweep() {
  const auto now = clock_.coarse_now();
  for (auto& shard : shards_) {
    const std::unique_lock lock(shard.mutex);
    const auto erased = erase_if(shard.entries, [&](const auto& item) {
      if (now < item.second.expires_at + options_.stale) return false;
      ghost_.left(CacheKeyHash{}(item.first), CacheGhost::Cause::expired, loaded_at(item.second));
      return true;
    });
    size_.fetch_sub(erased);
    evicted_expired_.fetch_add(erased, std::memory_order_relaxed);
  }
}

template <class Value>
std::vector<TenantId> KeyCache<Value>::used_since(Time since) const {
  std::vector<TenantId> tenants;
  for (const auto& shard : shards_) {
    const std::shared_lock lock(shard.mutex);
    for (const auto& item : shard.entries) {
      if (last_used_of(item) > since.time_since_epoch().count()) {
        tenants.push_back(TenantId::from_store(item.first.tenant));
      }
    }
  }
  std::ranges::sort(tenants);
  const auto repeated = std::ranges::unique(tenants);
  tenants.erase(repeated.begin(), repeated.end());
  return tenants;
}

template <class Value>
CacheStatistics KeyCache<Value>::statistics() const {
  CacheStatistics all;
  for (const auto& shard : shards_) all.hits += shard.hits.load(std::memory_order_relaxed);
  all.misses = misses_.load(std::memory_order_relaxed);
  all.size = size_.load();
  all.evicted_size = evicted_size_.load(std::memory_order_relaxed);
  all.evicted_expired = evicted_expired_.load(std::memory_order_relaxed);
  all.evicted_explicit = evicted_explicit_.load(std::memory_order_relaxed);
  all.larger = ghost_.larger();
  all.longer = ghost_.longer();
  return all;
}

}  // namespace betrace::kms
