// The store that rotation is measured on, and the limit that stands beside it: what the same new
// keys cost when nothing but the provider and SQLite is asked. Prints one JSON object.
//
//   rotation_bench seed FOLDER TENANTS       makes a data directory with that many tenants
//   rotation_bench floor FOLDER BATCH        rotates all of them: two data keys a tenant from the
//     local provider, then, batch by batch and each in one durable transaction, the predecessors'
//     transitions, the new rows and their wrappings. No key is read, opened or signed.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>
#include <time.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "core/key_factory.h"
#include "net/curl_client.h"
#include "providers/catalog.h"
#include "providers/local.h"
#include "stores/sqlite_store.h"

namespace betrace::kms {
namespace {

[[noreturn]] void die(std::string_view what) {
  std::fprintf(stderr, "rotation_bench: %.*s\n", static_cast<int>(what.size()), what.data());
  std::exit(1);
}

template <class T>
T must(Result<T> result) {
  if (!result) die(result.error().message);
  return *std::move(result);
}

// SQLite as it is, with the settings of the product's own connections.
class Raw {
 public:
  Raw(const std::string& path, const char* synchronous) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) die(sqlite3_errmsg(db_));
    run("PRAGMA cache_size = -512");
    run("PRAGMA foreign_keys = ON");
    run("PRAGMA secure_delete = ON");
    run("PRAGMA temp_store = MEMORY");
    run((std::string("PRAGMA synchronous = ") + synchronous).c_str());
  }
  ~Raw() { sqlite3_close(db_); }
  Raw(const Raw&) = delete;
  Raw& operator=(const Raw&) = delete;

  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) die(sqlite3_errmsg(db_));
  }
  sqlite3* get() { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

class Statement {
 public:
  Statement(Raw& db, const char* sql) : db_(db.get()) {
    if (sqlite3_prepare_v2(db_, sql, -1, &statement_, nullptr) != SQLITE_OK) {
      die(sqlite3_errmsg(db_));
    }
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  template <class... Args>
  void run(const Args&... args) {
    int at = 0;
    (bind(++at, args), ...);
    if (sqlite3_step(statement_) != SQLITE_DONE) die(sqlite3_errmsg(db_));
    sqlite3_reset(statement_);
  }
  bool row() { return sqlite3_step(statement_) == SQLITE_ROW; }
  std::string bytes(int column) {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }
  std::int64_t integer(int column) { return sqlite3_column_int64(statement_, column); }

 private:
  void bind(int at, std::string_view text) {
    sqlite3_bind_text(statement_, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  }
  void bind(int at, std::int64_t value) { sqlite3_bind_int64(statement_, at, value); }
  void bind(int at, SystemTime time) { bind(at, time.time_since_epoch().count()); }
  void bind(int at, ByteView bytes) {
    const void* data = bytes.empty() ? nullptr : bytes.data();
    sqlite3_bind_blob(statement_, at, data, static_cast<int>(bytes.size()), SQLITE_STATIC);
  }

  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
};

// The statements that a new key needs.
struct Inserts {
  Statement key, wrapping;
  explicit Inserts(Raw& db)
      : key(db,
            "INSERT INTO keys (tenant, type, version, id, state, created_at, public_key,"
            " attestation, succession, succession_by_predecessor, succession_by_service)"
            " VALUES (?1, ?2, ?3, ?4, 'active', ?5, ?6, ?7, nullif(?8, ''), ?9, ?10)"),
        wrapping(db,
                 "INSERT INTO wrappings (key_id, provider, master_key_id, blob)"
                 " VALUES (?1, ?2, ?3, ?4)") {}
  void insert(const KeyRecord& record) {
    const auto succession = record.succession.value_or(Succession{});
    key.run(record.tenant.str(), to_string(record.type), std::int64_t{record.version},
            ByteView(record.id.bytes()), record.created_at, ByteView(record.public_key),
            ByteView(record.attestation), std::string_view(record.succession ? "rotation" : ""),
            ByteView(succession.by_predecessor), ByteView(succession.by_service));
    for (const auto& each : record.wrappings) {
      wrapping.run(ByteView(record.id.bytes()), each.provider, each.master_key_id,
                   ByteView(each.blob));
    }
  }
};

struct World {
  explicit World(const std::string& folder)
      : file(folder + "/betrace-kms.db"),
        store(must(open_sqlite_store({.path = file}))),
        provider(must(make_local_provider({.settings = [](auto) { return std::nullopt; },
                                           .http = *http,
                                           .clock = system_clock(),
                                           .environment = [](auto) { return std::nullopt; },
                                           .data_dir = folder}))) {}
  std::string file;
  std::unique_ptr<HttpClient> http = make_http_client();
  std::unique_ptr<KeyStore> store;
  std::unique_ptr<Provider> provider;
  CallContext call = CallContext::system("bench");
};

// A random UUID, as most tenants are named: neighbours in age are no neighbours in the tables.
TenantId random_tenant() {
  std::array<std::uint8_t, 16> bytes;
  random_bytes(bytes);
  return must(TenantId::parse(KeyId(bytes).str()));
}

void seed(const std::string& folder, int tenants) {
  World world(folder);
  KeyOpener opener({world.provider.get(), world.provider.get()});
  ServiceKey service_key(*world.store, opener, system_clock());
  KeyFactory factory(opener, service_key, system_clock());
  static_cast<void>(must(service_key.get(world.call)));
  Raw db(world.file, "OFF");
  Statement tenant_row(db, "INSERT INTO tenants (id, created_at) VALUES (?1, ?2)");
  Inserts inserts(db);
  db.run("BEGIN IMMEDIATE");
  for (int i = 0; i < tenants; ++i) {
    const auto tenant = random_tenant();
    tenant_row.run(tenant.str(), system_clock().now());
    for (const auto type : {KeyType::signing, KeyType::encryption}) {
      inserts.insert(must(factory.first(world.call, tenant, type)));
    }
  }
  db.run("DELETE FROM changes WHERE generation < (SELECT max(generation) FROM changes)");
  db.run("COMMIT");
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  std::printf("{\"tenants\":%d}\n", tenants);
}

struct Old {
  TenantId tenant;
  KeyType type;
  std::uint32_t version;
  std::string id;
};

// In the order of a rotation: by age, both keys of a tenant side by side.
std::vector<Old> active_keys(Raw& db) {
  std::vector<Old> keys;
  Statement rows(db,
                 "SELECT k.tenant, k.type, k.version, k.id FROM keys k JOIN tenants t"
                 " ON t.id = k.tenant WHERE k.state = 'active' AND k.tenant <> '@service'"
                 " ORDER BY t.created_at, k.tenant, k.type DESC");
  while (rows.row()) {
    keys.push_back({.tenant = TenantId::from_store(rows.bytes(0)),
                    .type = must(parse_key_type(rows.bytes(1))),
                    .version = static_cast<std::uint32_t>(rows.integer(2)),
                    .id = rows.bytes(3)});
  }
  return keys;
}

double seconds_of(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

void floor(const std::string& folder, std::size_t batch) {
  World world(folder);
  Raw db(world.file, "FULL");
  const auto keys = active_keys(db);
  Inserts inserts(db);
  Statement retire(db, "UPDATE keys SET state = 'rotated', state_changed_at = ?2 WHERE id = ?1");
  const Bytes filler(64, 0x5a);
  const auto began = seconds_of(CLOCK_MONOTONIC), cpu_began = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
  double provider_seconds = 0;
  for (std::size_t at = 0; at < keys.size(); at += batch * 2) {
    const auto end = std::min(at + batch * 2, keys.size());
    std::vector<Wrapping> wrapped;
    const auto asked = seconds_of(CLOCK_MONOTONIC);
    for (auto i = at; i < end; ++i) {
      wrapped.push_back(must(world.provider->generate_data_key(
                                 world.call, key_context(keys[i].tenant, keys[i].type)))
                            .wrapped);
    }
    provider_seconds += seconds_of(CLOCK_MONOTONIC) - asked;
    db.run("BEGIN IMMEDIATE");
    for (auto i = at; i < end; ++i) {
      const auto& old = keys[i];
      const auto now = system_clock().now();
      KeyRecord made{.id = KeyId::generate(now),
                     .tenant = old.tenant,
                     .type = old.type,
                     .version = old.version + 1,
                     .created_at = now};
      if (old.type == KeyType::signing) {
        made.public_key.assign(filler.begin(), filler.begin() + 32);
        made.attestation = filler;
        made.succession = Succession{.by_predecessor = filler, .by_service = filler};
      }
      made.wrappings.push_back(std::move(wrapped[i - at]));
      retire.run(as_bytes(old.id), now);
      inserts.insert(made);
    }
    db.run("COMMIT");
  }
  std::printf("{\"tenants\":%zu,\"seconds\":%.4f,\"cpu_seconds\":%.4f,\"provider_seconds\":%.4f}\n",
              keys.size() / 2, seconds_of(CLOCK_MONOTONIC) - began,
              seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu_began, provider_seconds);
}

}  // namespace
}  // namespace betrace::kms

int main(int argc, char** argv) {
  const std::string_view verb = argc == 4 ? argv[1] : "";
  if (verb == "seed") {
    betrace::kms::seed(argv[2], std::atoi(argv[3]));
  } else if (verb == "floor") {
    betrace::kms::floor(argv[2], static_cast<std::size_t>(std::atoi(argv[3])));
  } else {
    std::fputs("usage: rotation_bench seed FOLDER TENANTS | floor FOLDER BATCH\n", stderr);
    return 2;
  }
}
