#include "app/wiring.h"

#include <filesystem>
#include <string>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "betrace/kms/service.h"

#include "app/admin_token.h"
#include "base/encoding.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

using Settings = std::map<std::string, std::string>;

std::ptrdiff_t entries(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory), {});
}

// A port of loopback that somebody else listens on.
class TakenPort {
 public:
  TakenPort() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(socket_, 1), 0);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { close(socket_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  std::string number() const { return std::to_string(port_); }

 private:
  int socket_;
  int port_ = 0;
};

class Wiring : public testing::Test {
 protected:
  Wiring() { settings_["betrace.kms.data-dir"] = directory_.path(); }

  Result<Config> config() const { return Config::load({.overrides = settings_}); }
  static AdminAccess access() {
    return {.token = SecretBytes::copy_of(as_bytes("token-of-the-test")), .place = "the test"};
  }
  Result<SignatureBytes> sign(Service& service, const TenantId& tenant) {
    const ByteView payloads[] = {as_bytes("payload")};
    auto all = wait<std::vector<Result<Signature>>>([&](auto done) {
      service.keys().sign(CallContext::system("test"), tenant, payloads, std::move(done));
    });
    if (!all) return std::unexpected(all.error());
    if (!all->front()) return std::unexpected(all->front().error());
    return all->front()->bytes;
  }

  TemporaryDirectory directory_;
  Settings settings_;
};

TEST_F(Wiring, TheLibraryKeepsItsKeysFromOneOpeningToTheNext) {
  const auto tenant = TenantId::parse("acme").value();
  SignatureBytes before{};
  {
    const auto service = Service::open(settings_);
    ASSERT_TRUE(service) << service.error().message;
    const auto created = wait<TenantDescription>([&](auto done) {
      (*service)->keys().create_tenant(CallContext::system("test"), tenant, std::move(done));
    });
    ASSERT_TRUE(created) << created.error().message;
    before = sign(**service, tenant).value();
  }
  const auto service = Service::open(settings_);
  ASSERT_TRUE(service) << service.error().message;
  // Ed25519 is deterministic.
  EXPECT_EQ(sign(**service, tenant).value(), before);
}

TEST_F(Wiring, TwoServicesShareOneStore) {
  const auto first = Service::open(settings_);
  const auto second = Service::open(settings_);
  ASSERT_TRUE(first && second);
  const auto tenant = TenantId::parse("acme").value();
  ASSERT_TRUE(wait<TenantDescription>([&](auto done) {
    (*first)->keys().create_tenant(CallContext::system("test"), tenant, std::move(done));
  }));
  EXPECT_EQ(sign(**first, tenant).value(), sign(**second, tenant).value());
}

TEST_F(Wiring, TheLibraryReadsNoEnvironment) {
  setenv("BETRACE_KMS_PROVIDER", "nonsense", 1);
  EXPECT_TRUE(Service::open(settings_));
  unsetenv("BETRACE_KMS_PROVIDER");
}

TEST_F(Wiring, AMistakeNamesKeyValueAndWhatIsAccepted) {
  settings_["kms.cache.max-size"] = "many";
  const auto service = Service::open(settings_);
  ASSERT_FALSE(service);
  EXPECT_EQ(service.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(service.error().message.find("kms.cache.max-size='many'"), std::string::npos);
}

TEST_F(Wiring, AnUnknownProviderNamesThoseThereAre) {
  settings_["betrace.kms.provider"] = "clay-tablet";
  const auto service = Service::open(settings_);
  ASSERT_FALSE(service);
  EXPECT_NE(service.error().message.find("Unknown KMS provider: 'clay-tablet'. Supported: local"),
            std::string::npos);
}

TEST_F(Wiring, AProviderThatIsDownDoesNotKeepTheServiceFromStarting) {
  const TakenPort nobody_answers;
  settings_["betrace.kms.provider"] = "aws";
  settings_["aws.kms.master-key-id"] = "alias/test";
  settings_["aws.kms.endpoint"] = "http://127.0.0.1:1";
  settings_["quarkus.http.port"] = "0";
  const auto core = Core::open(*config());
  ASSERT_TRUE(core) << core.error().message;
  (*core)->start(*config());
  EXPECT_TRUE(Front::start(**core, *config(), access()));
}

TEST_F(Wiring, NothingHalfStartedRemainsWhenThePortIsTaken) {
  // Whatever the libraries set up once is set up now.
  ASSERT_TRUE(Core::open(*config()));
  const auto threads = entries("/proc/self/task");
  const TakenPort taken;
  const auto files = entries("/proc/self/fd");
  settings_["quarkus.http.port"] = taken.number();
  {
    auto core = Core::open(*config());
    ASSERT_TRUE(core);
    const auto front = Front::start(**core, *config(), access());
    ASSERT_FALSE(front);
    EXPECT_EQ(front.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(front.error().message.find("quarkus.http.port"), std::string::npos);
  }
  EXPECT_EQ(entries("/proc/self/task"), threads);
  EXPECT_EQ(entries("/proc/self/fd"), files);
  settings_["quarkus.http.port"] = "0";
  auto core = Core::open(*config());
  ASSERT_TRUE(core);
  EXPECT_TRUE(Front::start(**core, *config(), access()));
}

TEST_F(Wiring, NothingHalfStartedRemainsWhenTheStoreCannotBeOpened) {
  ASSERT_TRUE(Core::open(*config()));
  const auto threads = entries("/proc/self/task");
  const auto files = entries("/proc/self/fd");
  settings_["betrace.kms.store.url"] =
      "sqlite:" + directory_.write("garbage", "not a database, " + std::string(4096, 'x'));
  const auto core = Core::open(*config());
  ASSERT_FALSE(core);
  EXPECT_EQ(core.error().code, ErrorCode::store_unavailable);
  EXPECT_EQ(entries("/proc/self/task"), threads);
  EXPECT_EQ(entries("/proc/self/fd"), files);
}

TEST_F(Wiring, TheFrontSaysWhereItListensAndDrains) {
  settings_["quarkus.http.port"] = "0";
  auto core = Core::open(*config());
  ASSERT_TRUE(core);
  (*core)->start(*config());
  auto front = Front::start(**core, *config(), access());
  ASSERT_TRUE(front) << front.error().message;
  ASSERT_EQ((*front)->addresses().size(), 1U);
  EXPECT_TRUE((*front)->addresses().front().starts_with("http://127.0.0.1:"));
  EXPECT_TRUE((*front)->drain(std::chrono::seconds(10)));
}

TEST_F(Wiring, KeysOfTheLocalProviderStayReadableUnderAnother) {
  const auto tenant = TenantId::parse("acme").value();
  SignatureBytes before{};
  {
    const auto service = Service::open(settings_);
    ASSERT_TRUE(wait<TenantDescription>([&](auto done) {
      (*service)->keys().create_tenant(CallContext::system("test"), tenant, std::move(done));
    }));
    before = sign(**service, tenant).value();
  }
  settings_["betrace.kms.provider"] = "aws";
  settings_["aws.kms.master-key-id"] = "alias/test";
  settings_["aws.kms.endpoint"] = "http://127.0.0.1:1";
  const auto service = Service::open(settings_);
  ASSERT_TRUE(service) << service.error().message;
  const auto after = sign(**service, tenant);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_EQ(*after, before);
}

}  // namespace
}  // namespace betrace::kms
