#include "contract/provider_fixture.h"
#include "support/fake_clock.h"
#include "support/http_fake_gcp.h"

namespace betrace::kms {
namespace {

class GcpFixture final : public ProviderFixture {
 public:
  GcpFixture() {
    google_.create_key("master");
    google_.create_key("other");
    google_.have_hsms(true);
    provider_ = under("master");
  }

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under("master"); }
  std::unique_ptr<Provider> under_another_master_key() override { return under("other"); }

  bool cause(Mishap trouble) override {
    switch (trouble) {
      case Mishap::access_denied:
        for (const char* verb : {"encrypt", "decrypt"}) google_.deny(verb);
        return true;
      case Mishap::key_disabled:
        google_.set_state("master", "DISABLED");
        return true;
      case Mishap::key_pending_deletion:
        google_.set_state("master", "DESTROY_SCHEDULED");
        return true;
      case Mishap::key_gone:
        google_.delete_key("master");
        return true;
      case Mishap::throttled:
        return answer(FakeGcp::Trouble{.status = 429,
                                       .headers = {{"retry-after", "2"}},
                                       .body = R"({"error":{"code":429,"message":"Quota exceeded",)"
                                               R"("status":"RESOURCE_EXHAUSTED"}})"});
      case Mishap::server_error:
        return answer(FakeGcp::Trouble{.status = 500,
                                       .body = R"({"error":{"code":500,"status":"INTERNAL"}})"});
      case Mishap::unavailable:
        return answer(FakeGcp::Trouble{.status = 503, .body = "<html>Service Unavailable</html>"});
      case Mishap::connection_refused:
        return answer(FakeGcp::Trouble{
            .network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection refused"}});
      case Mishap::no_answer:
        return answer(FakeGcp::Trouble{.delay = std::chrono::hours(1)});
      case Mishap::not_json:
        return answer(FakeGcp::Trouble{.status = 200, .body = "welcome to the captive portal"});
      case Mishap::half_answer:
        return answer(FakeGcp::Trouble{.status = 200, .body = "{}"});
      case Mishap::short_secret:
        return answer(FakeGcp::Trouble{
            .status = 200, .body = R"({"data":"c2hvcnQ=","dataCrc32c":"1","name":"k"})"});
    }
    return false;
  }

  bool answer(int status, std::string body) override {
    return answer(FakeGcp::Trouble{.status = status, .body = std::move(body)});
  }

 private:
  bool answer(FakeGcp::Trouble trouble) {
    trouble.times = 1'000'000;
    google_.add_trouble(std::move(trouble));
    return true;
  }
  std::unique_ptr<Provider> under(const std::string& key) {
    const auto settings = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "gcp.kms.project-id") return "p";
      if (name == "gcp.kms.keyring") return "r";
      if (name == "gcp.kms.key-name") return key;
      return std::nullopt;
    };
    return made("gcp", {.settings = settings,
                        .http = google_,
                        .clock = clock_,
                        .environment = {},
                        .data_dir = ""});
  }

  FakeClock clock_;
  FakeGcp google_{clock_};
  std::unique_ptr<Provider> provider_;
};

}  // namespace

std::unique_ptr<ProviderFixture> gcp_fixture() { return std::make_unique<GcpFixture>(); }

}  // namespace betrace::kms
