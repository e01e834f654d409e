#include "contract/provider_fixture.h"
#include "support/fake_clock.h"
#include "support/http_fake_kms.h"

namespace betrace::kms {
namespace {

class AwsFixture final : public ProviderFixture {
 public:
  AwsFixture() : key_(aws_.kms.create_key()), provider_(under(key_)) {}

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under(key_); }
  std::unique_ptr<Provider> under_another_master_key() override {
    return under(aws_.kms.create_key());
  }

  bool cause(Mishap trouble) override {
    switch (trouble) {
      case Mishap::access_denied:
        for (const char* each : {"GenerateDataKey", "Encrypt", "Decrypt"}) aws_.kms.deny(each);
        return true;
      case Mishap::key_disabled:
        aws_.kms.set_state(key_, "Disabled");
        return true;
      case Mishap::key_pending_deletion:
        aws_.kms.set_state(key_, "PendingDeletion");
        return true;
      case Mishap::key_gone:
        aws_.kms.delete_key(key_);
        return true;
      case Mishap::throttled:
        return answer(FakeKms::Trouble{
            .status = 400,
            .headers = {{"retry-after", "2"}},
            .body = R"({"__type":"ThrottlingException","message":"Rate exceeded"})"});
      case Mishap::server_error:
        return answer(
            FakeKms::Trouble{.status = 500, .body = R"({"__type":"KMSInternalException"})"});
      case Mishap::unavailable:
        return answer(FakeKms::Trouble{.status = 503, .body = "<html>Service Unavailable</html>"});
      case Mishap::connection_refused:
        return answer(FakeKms::Trouble{
            .network = Error{.code = ErrorCode::kms_unavailable, .message = "Connection refused"}});
      case Mishap::no_answer:
        return answer(FakeKms::Trouble{.delay = std::chrono::hours(1)});
      case Mishap::not_json:
        return answer(FakeKms::Trouble{.status = 200, .body = "welcome to the captive portal"});
      case Mishap::half_answer:
        return answer(FakeKms::Trouble{.status = 200, .body = "{}"});
      case Mishap::short_secret:
        return answer(FakeKms::Trouble{
            .status = 200,
            .body = R"({"CiphertextBlob":"AAAA","KeyId":"k","Plaintext":"c2hvcnQ="})"});
    }
    return false;
  }

  bool answer(int status, std::string body) override {
    return answer(FakeKms::Trouble{.status = status, .body = std::move(body)});
  }

 private:
  bool answer(FakeKms::Trouble trouble) {
    trouble.times = 1'000'000;
    aws_.kms.add_trouble(std::move(trouble));
    return true;
  }
  std::unique_ptr<Provider> under(const std::string& key) {
    const auto settings = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "aws.kms.master-key-id") return key;
      return std::nullopt;
    };
    const auto environment = [](const char* name) -> std::optional<std::string> {
      const std::string_view variable = name;
      if (variable == "AWS_ACCESS_KEY_ID") return "AKIAEXAMPLE";
      if (variable == "AWS_SECRET_ACCESS_KEY") return "secret";
      return std::nullopt;
    };
    return made("aws", {.settings = settings,
                        .http = aws_,
                        .clock = clock_,
                        .environment = environment,
                        .data_dir = ""});
  }

  FakeAws aws_;
  FakeClock clock_;
  const std::string key_;
  std::unique_ptr<Provider> provider_;
};

}  // namespace

std::unique_ptr<ProviderFixture> aws_fixture() { return std::make_unique<AwsFixture>(); }

}  // namespace betrace::kms
