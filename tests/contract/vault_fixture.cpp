#include "contract/provider_fixture.h"
#include "support/fake_clock.h"
#include "support/http_fake_vault.h"

namespace betrace::kms {
namespace {

class VaultFixture final : public ProviderFixture {
 public:
  VaultFixture() {
    vault_.accept_token("t");
    vault_.create_key("master");
    vault_.create_key("other");
    provider_ = under("master");
  }

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under("master"); }
  std::unique_ptr<Provider> under_another_master_key() override { return under("other"); }

  bool cause(Mishap trouble) override {
    switch (trouble) {
      case Mishap::access_denied:
        for (const char* verb : {"datakey/plaintext", "encrypt", "decrypt"}) {
          vault_.deny(std::string("transit/") + verb + "/master");
        }
        return true;
      case Mishap::key_disabled:
        vault_.describe_as("master", R"("soft_deleted":true)");
        return true;
      case Mishap::key_pending_deletion:
        return false;
      case Mishap::key_gone:
        vault_.delete_key("master");
        return true;
      case Mishap::throttled:
        return answer(FakeVault::Trouble{
            .status = 429,
            .headers = {{"retry-after", "2"}},
            .body = R"({"errors":["request path \"x\": rate limit quota exceeded"]})"});
      case Mishap::server_error:
        return answer(
            FakeVault::Trouble{.status = 500, .body = R"({"errors":["internal error"]})"});
      case Mishap::unavailable:
        return answer(
            FakeVault::Trouble{.status = 503, .body = R"({"errors":["Vault is sealed"]})"});
      case Mishap::connection_refused:
        return answer(FakeVault::Trouble{
            .network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection refused"}});
      case Mishap::no_answer:
        return answer(FakeVault::Trouble{.delay = std::chrono::hours(1)});
      case Mishap::not_json:
        return answer(FakeVault::Trouble{.status = 200, .body = "welcome to the captive portal"});
      case Mishap::half_answer:
        return answer(FakeVault::Trouble{.status = 200, .body = R"({"data":{}})"});
      case Mishap::short_secret:
        return answer(FakeVault::Trouble{
            .status = 200,
            .body = R"({"data":{"ciphertext":"vault:v1:AAAA","plaintext":"c2hvcnQ="}})"});
    }
    return false;
  }

  bool answer(int status, std::string body) override {
    return answer(FakeVault::Trouble{.status = status, .body = std::move(body)});
  }

 private:
  bool answer(FakeVault::Trouble trouble) {
    trouble.times = 1'000'000;
    vault_.add_trouble(std::move(trouble));
    return true;
  }
  std::unique_ptr<Provider> under(const std::string& key) {
    const auto settings = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "vault.transit.key-name") return key;
      if (name == "vault.token") return "t";
      return std::nullopt;
    };
    return made(
        "vault",
        {.settings = settings, .http = vault_, .clock = clock_, .environment = {}, .data_dir = ""});
  }

  FakeClock clock_;
  FakeVault vault_{clock_};
  std::unique_ptr<Provider> provider_;
};

}  // namespace

std::unique_ptr<ProviderFixture> vault_fixture() { return std::make_unique<VaultFixture>(); }

}  // namespace betrace::kms
