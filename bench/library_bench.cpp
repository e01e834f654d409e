// The rows of `make bench` that need no socket: what the library costs beside the bare primitive,
// in the same run, interleaved. Prints one JSON object a line: row, unit, ours and beside, each
// round's value, so that whoever reads takes medians.
//
//   library_bench [rounds, default 7]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <openssl/evp.h>
#include <sodium.h>

#include "betrace/kms/key_service.h"

#include "api/access.h"
#include "api/router.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "core/key_cache.h"
#include "core/key_opener.h"
#include "core/key_service_impl.h"
#include "stores/memory_store.h"
#include "support/api_fakes.h"
#include "support/evidence_fake.h"
#include "support/fake_provider.h"
#include "support/lifecycle_fakes.h"

namespace betrace::kms {
namespace {

constexpr std::size_t payload_bytes = 256;

// Nanoseconds of this thread's processor time for one call.
template <class Work>
double per_call(int calls, Work work) {
  const auto cpu_now = [] {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
  };
  const auto begun = cpu_now();
  for (int i = 0; i < calls; ++i) work();
  return (cpu_now() - begun) / calls;
}

struct Row {
  std::string name;
  std::vector<double> ours, beside;
  void print() const {
    std::printf("{\"row\":\"%s\",\"unit\":\"ns\"", name.c_str());
    for (const auto& [label, values] : {std::pair{"ours", &ours}, std::pair{"beside", &beside}}) {
      std::printf(",\"%s\":[", label);
      for (std::size_t i = 0; i < values->size(); ++i) {
        std::printf("%s%.1f", i == 0 ? "" : ",", (*values)[i]);
      }
      std::printf("]");
    }
    std::printf("}\n");
  }
};

struct World {
  MemoryStore store;
  FakeProvider provider{"fake", false};
  Metrics metrics{"fake"};
  ThreadPool store_threads{{.name = "store", .threads = 1}};
  ThreadPool provider_threads{{.name = "provider", .threads = 1}};
  KeyOpener opener{{&provider, &provider}, {}};
  KeyServiceImpl service{{store, opener, store_threads, provider_threads, system_clock(), metrics},
                         {}};
  const CallContext call = CallContext::system("bench");
  const TenantId tenant = TenantId::parse("7b3f1c2e-9d8a-4c55-8f21-0a1b2c3d4e5f").value();
  const Bytes payload = Bytes(payload_bytes, 'x');
  const ByteView view = payload;

  World() {
    const auto made = wait<TenantDescription>(
        [&](auto done) { service.create_tenant(call, tenant, std::move(done)); });
    if (!made) std::abort();
    sign();
    encrypt();
  }
  void sign() {
    const auto signatures = wait<std::vector<Result<Signature>>>(
        [&](auto done) { service.sign(call, tenant, {&view, 1}, std::move(done)); });
    if (!signatures || !signatures->front()) std::abort();
  }
  void encrypt() {
    const auto sealed = wait<std::vector<Result<Bytes>>>(
        [&](auto done) { service.encrypt(call, tenant, {&view, 1}, {}, std::move(done)); });
    if (!sealed || !sealed->front()) std::abort();
  }
};

Row library_sign(World& world, int rounds) {
  Row row{.name = "library sign, warm, 256 B"};
  const auto key = ed25519_key_from_seed(SecretBytes::random(32));
  SignatureBytes signature;
  for (int round = 0; round < rounds; ++round) {
    row.ours.push_back(per_call(3000, [&] { world.sign(); }));
    row.beside.push_back(per_call(3000, [&] {
      crypto_sign_detached(signature.data(), nullptr, world.payload.data(), world.payload.size(),
                           key.expose().data());
    }));
  }
  return row;
}

// OpenSSL as fast as it goes: one context, one key, a new nonce each time.
struct RawGcm {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  std::array<std::uint8_t, 32> key{1};
  std::array<std::uint8_t, 12> nonce{};
  std::array<std::uint8_t, payload_bytes> out{};
  std::array<std::uint8_t, 16> tag{};
  RawGcm() { EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, key.data(), nonce.data()); }
  ~RawGcm() { EVP_CIPHER_CTX_free(context); }
  void seal(ByteView plaintext) {
    ++nonce[0];
    int written = 0;
    EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data());
    EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(),
                      static_cast<int>(plaintext.size()));
    EVP_EncryptFinal_ex(context, out.data() + written, &written);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag.data());
  }
};

Row library_encrypt(World& world, int rounds) {
  Row row{.name = "library encrypt, warm, 256 B"};
  RawGcm raw;
  for (int round = 0; round < rounds; ++round) {
    row.ours.push_back(per_call(100'000, [&] { world.encrypt(); }));
    row.beside.push_back(per_call(100'000, [&] { raw.seal(world.payload); }));
  }
  return row;
}

// 1,000 tenants in a shuffled order, as a service sees them.
struct CacheWorld {
  KeyCache<int> cache{{}, system_clock(), [](const CallContext&, const CacheKey&, auto done) {
                        done(std::make_shared<const int>(1));
                      }};
  std::vector<TenantId> tenants;
  CacheWorld() {
    for (int i = 0; i < 1000; ++i) {
      tenants.push_back(TenantId::parse(KeyId::generate(system_clock().now()).str()).value());
      cache.load(CallContext::system("bench"), tenants.back(), 0, [](const auto&) {});
    }
  }
  double hit(std::size_t start) {
    std::size_t at = start;
    return per_call(1'000'000, [&] {
      if (!cache.find(tenants[at])) std::abort();
      at = (at + 7) % tenants.size();
    });
  }
};

Row cache_hit(CacheWorld& world, int rounds, int threads) {
  Row row{.name =
              "cache hit, " + std::to_string(threads) + (threads == 1 ? " thread" : " threads")};
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> each(static_cast<std::size_t>(threads));
    {
      std::vector<std::jthread> running;
      for (int t = 0; t < threads; ++t) {
        running.emplace_back([&, t] { each[t] = world.hit(static_cast<std::size_t>(t) * 331); });
      }
    }
    row.ours.push_back(*std::ranges::max_element(each));
  }
  return row;
}

// A request that is there already, and an answer that goes nowhere: the daemon without its sockets.
class NullConnection final : public Reply::Connection {
 public:
  NullConnection(const World& world) : path_("/api/tenants/" + world.tenant.str() + "/sign") {
    request_.method = "POST";
    request_.target = request_.path = path_;
    request_.headers = headers_;
    request_.peer_is_loopback = true;
    body_ = "{\"payload\":\"" + base64_encode(world.payload) + "\"}";
  }
  void prepare() {
    request_.body = body_;
    request_.received_at = std::chrono::steady_clock::now();
  }
  const Request& request() const override { return request_; }
  void send(Response response) override {
    if (response.status != 200) std::abort();
  }

 private:
  const std::string path_;
  const std::array<std::pair<std::string_view, std::string_view>, 1> headers_{
      {{"Authorization", "Bearer bench-token"}}};
  WipedString body_;
  Request request_;
};

struct RouterWorld {
  World& world;
  FakeLifecycle lifecycle;
  FakeRotation rotation;
  FakeMigration migration;
  FakeEvidence evidence;
  FakeArchive archive;
  FakeStream stream;
  FakeMonitor monitor;
  FakeDoctor doctor;
  AdminAuthorizer authorizer;
  RecordingAudit audit;
  Router router{{.keys = world.service,
                 .lifecycle = lifecycle,
                 .rotation = rotation,
                 .migration = migration,
                 .evidence = evidence,
                 .archive = archive,
                 .stream = stream,
                 .monitor = monitor,
                 .doctor = doctor,
                 .metrics = world.metrics,
                 .authorizer = authorizer,
                 .audit = audit,
                 .clock = system_clock(),
                 .heavy = world.provider_threads,
                 .settings = {.admin_token = SecretBytes::copy_of(as_bytes("bench-token"))}}};

  // Requests a second by the wall's clock.
  double rate(int threads, int calls) {
    const auto begun = std::chrono::steady_clock::now();
    {
      std::vector<std::jthread> running;
      for (int t = 0; t < threads; ++t) {
        running.emplace_back([&] {
          const auto connection = std::make_shared<NullConnection>(world);
          for (int i = 0; i < calls; ++i) {
            connection->prepare();
            router.handle(Reply(connection));
          }
        });
      }
    }
    const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun);
    return threads * calls / took.count();
  }
};

Row two_threads(RouterWorld& world, int rounds) {
  Row row{.name = "two I/O threads against one"};
  for (int round = 0; round < rounds; ++round) {
    row.beside.push_back(world.rate(1, 10'000));
    row.ours.push_back(world.rate(2, 10'000));
  }
  return row;
}

void run(int rounds) {
  World world;
  library_sign(world, rounds).print();
  library_encrypt(world, rounds).print();
  CacheWorld cached;
  cache_hit(cached, rounds, 1).print();
  cache_hit(cached, rounds, 2).print();
  RouterWorld router{world};
  two_threads(router, rounds).print();
}

}  // namespace
}  // namespace betrace::kms

int main(int argc, char** argv) { betrace::kms::run(argc > 1 ? std::atoi(argv[1]) : 7); }
