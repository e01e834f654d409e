// Records for tests of stores: valid ones with a key id each, and a folder that goes away again.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "betrace/kms/key_store.h"

namespace betrace::kms::testing {

inline SystemTime at_ms(std::int64_t milliseconds) {
  return SystemTime(std::chrono::milliseconds(milliseconds));
}

inline TenantId tenant_id(std::string_view text) { return TenantId::from_store(std::string(text)); }

inline TenantRecord tenant_record(std::string_view id, std::int64_t created_ms = 1'000) {
  return {.id = tenant_id(id), .created_at = at_ms(created_ms), .destroyed = false};
}

struct KeyShape {
  TenantId tenant = TenantId::from_store("acme");
  KeyType type = KeyType::signing;
  std::uint32_t version = 1;
  std::int64_t created_ms = 1'000;
};

inline KeyRecord key_record(const KeyShape& shape) {
  KeyRecord key{.id = KeyId::generate(at_ms(shape.created_ms)),
                .tenant = shape.tenant,
                .type = shape.type,
                .version = shape.version,
                .created_at = at_ms(shape.created_ms)};
  if (shape.type == KeyType::signing) {
    key.public_key = Bytes(32, static_cast<std::uint8_t>(shape.version));
    key.attestation = Bytes(64, 0x5a);
    if (shape.version > 1) {
      key.succession = Succession{.kind = Succession::Kind::rotation,
                                  .by_predecessor = Bytes(64, 0x01),
                                  .by_service = Bytes(64, 0x02)};
    }
  }
  key.wrappings = {
      {.provider = "local", .master_key_id = "local-master-key", .blob = Bytes(60, 7)}};
  return key;
}

// The first keys of a tenant, or with a higher version their successors.
inline std::vector<KeyRecord> both_keys(const TenantId& tenant, std::uint32_t version = 1,
                                        std::int64_t created_ms = 1'000) {
  return {key_record({tenant, KeyType::signing, version, created_ms}),
          key_record({tenant, KeyType::encryption, version, created_ms})};
}

// The keys take the place of the versions before them, as in a rotation.
inline Commit replacing(KeyStore& store, const CallContext& call,
                        const std::vector<KeyRecord>& successors) {
  Commit commit;
  for (const auto& key : successors) {
    const auto old = store.find_key(call, key.tenant, key.type, key.version - 1);
    if (old) commit.emplace_back(change::Transition{.key = old->id, .at = key.created_at});
    commit.emplace_back(change::AddKey{key});
  }
  return commit;
}
inline Status rotate(KeyStore& store, const CallContext& call,
                     const std::vector<KeyRecord>& successors) {
  return store.commit(call, replacing(store, call, successors));
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    auto pattern = (std::filesystem::temp_directory_path() / "betrace-store-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::string file(std::string_view name = "kms.db") const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace betrace::kms::testing
