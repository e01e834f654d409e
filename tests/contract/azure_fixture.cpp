#include "contract/provider_fixture.h"
#include "support/fake_clock.h"
#include "support/http_fake_azure.h"

namespace betrace::kms {
namespace {

class AzureFixture final : public ProviderFixture {
 public:
  AzureFixture() {
    azure_.create_key("master");
    azure_.create_key("other");
    provider_ = under("master");
  }

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under("master"); }
  std::unique_ptr<Provider> under_another_master_key() override { return under("other"); }

  bool cause(Mishap trouble) override {
    switch (trouble) {
      case Mishap::access_denied:
        for (const char* verb : {"wrapkey", "unwrapkey"}) azure_.deny(verb);
        return true;
      case Mishap::key_disabled:
        azure_.enable("master", false);
        return true;
      case Mishap::key_pending_deletion:
        azure_.delete_key("master");
        return true;
      case Mishap::key_gone:
        azure_.purge_key("master");
        return true;
      case Mishap::throttled:
        return answer(FakeAzure::Trouble{
            .status = 429,
            .headers = {{"retry-after", "2"}},
            .body = R"({"error":{"code":"Throttled","message":"too many requests"}})"});
      case Mishap::server_error:
        return answer(
            FakeAzure::Trouble{.status = 500, .body = R"({"error":{"code":"InternalError"}})"});
      case Mishap::unavailable:
        return answer(
            FakeAzure::Trouble{.status = 503, .body = "<html>Service Unavailable</html>"});
      case Mishap::connection_refused:
        return answer(FakeAzure::Trouble{
            .network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection refused"}});
      case Mishap::no_answer:
        return answer(FakeAzure::Trouble{.delay = std::chrono::hours(1)});
      case Mishap::not_json:
        return answer(FakeAzure::Trouble{.status = 200, .body = "welcome to the captive portal"});
      case Mishap::half_answer:
        return answer(FakeAzure::Trouble{.status = 200, .body = "{}"});
      case Mishap::short_secret:
        return answer(
            FakeAzure::Trouble{.status = 200, .body = R"({"kid":"k","value":"c2hvcnQ"})"});
    }
    return false;
  }

  bool answer(int status, std::string body) override {
    return answer(FakeAzure::Trouble{.status = status, .body = std::move(body)});
  }

 private:
  bool answer(FakeAzure::Trouble trouble) {
    trouble.times = 1'000'000;
    azure_.add_trouble(std::move(trouble));
    return true;
  }
  std::unique_ptr<Provider> under(const std::string& key) {
    const auto settings = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "azure.keyvault.uri") return std::string(FakeAzure::uri);
      if (name == "azure.keyvault.key-name") return key;
      return std::nullopt;
    };
    return made(
        "azure",
        {.settings = settings, .http = azure_, .clock = clock_, .environment = {}, .data_dir = ""});
  }

  FakeClock clock_;
  FakeAzure azure_{clock_};
  std::unique_ptr<Provider> provider_;
};

}  // namespace

std::unique_ptr<ProviderFixture> azure_fixture() { return std::make_unique<AzureFixture>(); }

}  // namespace betrace::kms
