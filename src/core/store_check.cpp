#include "core/store_check.h"

#include <fmt/format.h>

#include "base/try.h"
#include "core/destruction.h"
#include "core/succession.h"

namespace betrace::kms {
namespace {

constexpr std::size_t tenants_at_once = 500;
constexpr std::size_t problems_listed_max = 100;

class Checker {
 public:
  Checker(const CallContext& call, KeyStore& store, StoreReport& report)
      : call_(call), store_(store), report_(report) {}

  Status begin() {
    auto service = store_.find_active_key(call_, TenantId::service(), KeyType::signing);
    if (service) {
      service_key_ = std::move(service->public_key);
      if (service->wrappings.empty()) {
        complain("@service", service->id.str(), "the service's key has no wrapped form");
      }
      return {};
    }
    if (service.error().code == ErrorCode::key_not_found) return {};
    return std::unexpected(std::move(service).error());
  }

  Status check_notes(std::string_view prefix) {
    std::string after;
    for (;;) {
      const auto page = TRY(store_.list_notes(call_, prefix, after, tenants_at_once));
      if (page.empty()) return {};
      for (const auto& [name, text] : page) {
        if (const auto note = parse_destruction_note(text); !note) {
          complain(name.substr(prefix.size()), "", note.error().message);
        }
      }
      after = page.back().first;
    }
  }

  // A row that cannot be read is a finding; a store that cannot be read is an error.
  Status check_tenant(const TenantRecord& tenant) {
    ++(tenant.destroyed ? report_.destroyed_tenants : report_.tenants);
    const auto keys = store_.list_keys(call_, tenant.id);
    if (!keys && keys.error().code == ErrorCode::store_unavailable) {
      return std::unexpected(keys.error());
    }
    if (!keys) {
      complain(tenant.id.str(), "", keys.error().message);
      return {};
    }
    const KeyRecord* previous = nullptr;
    for (const auto& key : *keys) {
      const bool first = previous == nullptr || previous->type != key.type;
      check_public_half(key, first ? nullptr : previous);
      TRY(check_secret(tenant, key));
      ++report_.keys[{key.type, key.state}];
      previous = &key;
    }
    return check_active_versions(tenant, *keys);
  }

 private:
  void complain(std::string tenant, std::string key, std::string problem) {
    if (report_.problems_found++ >= problems_listed_max) return;
    report_.problems.push_back(
        {.tenant = std::move(tenant), .key = std::move(key), .problem = std::move(problem)});
  }
  void complain(const KeyRecord& key, std::string problem) {
    complain(key.tenant.str(), key.id.str(), std::move(problem));
  }

  void check_public_half(const KeyRecord& key, const KeyRecord* previous) {
    const auto expected = previous == nullptr ? 1 : previous->version + 1;
    if (key.version != expected) {
      complain(key,
               fmt::format("version {} of the {} key is missing", expected, to_string(key.type)));
    }
    if (key.type != KeyType::signing) return;
    if (!is_attested(service_key_, key)) {
      complain(key,
               "the service key does not vouch for the public key: the row was altered, or "
               "slipped in");
    }
    const bool follows = previous != nullptr && previous->version + 1 == key.version;
    if (follows && !is_successor(service_key_, *previous, key)) {
      complain(key,
               fmt::format("the succession from version {} does not verify", previous->version));
    }
  }

  Status check_secret(const TenantRecord& tenant, const KeyRecord& listed) {
    const auto key = store_.find_key(call_, tenant.id, listed.type, listed.version);
    if (!key && key.error().code == ErrorCode::store_unavailable) {
      return std::unexpected(key.error());
    }
    if (!key) {
      complain(listed, key.error().message);
      return {};
    }
    const bool gone = key->state == KeyState::destroyed || key->secret_destroyed_at.has_value();
    if (gone && !key->wrappings.empty()) complain(*key, "is destroyed and has a wrapped form");
    if (!gone && key->wrappings.empty()) complain(*key, "has no wrapped form: nobody can open it");
    for (const auto& wrapping : key->wrappings) {
      if (!wrapping.blob.empty()) continue;
      complain(*key, fmt::format("the form wrapped by '{}' is empty", wrapping.provider));
    }
    return {};
  }

  Status check_active_versions(const TenantRecord& tenant, const std::vector<KeyRecord>& keys) {
    const bool under_way =
        tenant.destroyed &&
        TRY(store_.find_note(call_, std::string(destroying_prefix) + tenant.id.str())).has_value();
    if (under_way) return {};
    for (const auto type : {KeyType::signing, KeyType::encryption}) {
      std::uint64_t active = 0;
      for (const auto& key : keys) active += key.type == type && key.state == KeyState::active;
      if (active == (tenant.destroyed ? 0 : 1)) continue;
      complain(tenant.id.str(), "",
               fmt::format("{} active {} keys, {} expected", active, to_string(type),
                           tenant.destroyed ? "none is" : "one is"));
    }
    return {};
  }

  const CallContext& call_;
  KeyStore& store_;
  StoreReport& report_;
  Bytes service_key_;
};

}  // namespace

Result<StoreReport> check_store(const CallContext& call, KeyStore& store,
                                const CheckProgress& progress) {
  StoreReport report{.wrappings = TRY(store.wrapping_counts(call))};
  Checker checker(call, store, report);
  TRY(checker.begin());
  TRY(checker.check_notes(destroying_prefix));
  TRY(checker.check_notes(destroyed_prefix));
  const auto total = TRY(store.counts(call)).tenants;
  Page page{.after = {}, .limit = tenants_at_once};
  for (;;) {
    const auto tenants = TRY(store.list_tenants(call, page));
    if (tenants.empty()) return report;
    for (const auto& tenant : tenants) TRY(checker.check_tenant(tenant));
    progress(std::min(report.tenants, total), total);
    page.after = tenants.back().id.str();
  }
}

}  // namespace betrace::kms
