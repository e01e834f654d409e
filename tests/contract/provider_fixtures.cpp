#include <filesystem>
#include <stdexcept>

#include <stdlib.h>

#include "contract/provider_fixture.h"
#include "providers/catalog.h"
#include "support/fake_clock.h"
#include "support/http_fake_kms.h"

namespace betrace::kms {
namespace {

std::unique_ptr<Provider> made(std::string_view name, const ProviderEnvironment& environment) {
  auto provider = make_provider(name, environment);
  if (!provider) throw std::runtime_error(provider.error().message);
  return *std::move(provider);
}

class LocalFixture final : public ProviderFixture {
 public:
  LocalFixture() : folder_(make_folder()), provider_(under("master.key")) {}
  ~LocalFixture() override { std::filesystem::remove_all(folder_); }

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under("master.key"); }
  std::unique_ptr<Provider> under_another_master_key() override { return under("other.key"); }

 private:
  static std::string make_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "provider-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    return pattern;
  }
  std::unique_ptr<Provider> under(const std::string& file) {
    const auto settings = [&](std::string_view key) -> std::optional<std::string> {
      if (key == "betrace.kms.local.master-key-file") return file;
      return std::nullopt;
    };
    return made("local", {.settings = settings,
                          .http = aws_,
                          .clock = clock_,
                          .environment = {},
                          .data_dir = folder_});
  }

  FakeAws aws_;
  FakeClock clock_;
  const std::string folder_;
  std::unique_ptr<Provider> provider_;
};

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
        return answer({.status = 400,
                       .headers = {{"retry-after", "2"}},
                       .body = R"({"__type":"ThrottlingException","message":"Rate exceeded"})"});
      case Mishap::server_error:
        return answer({.status = 500, .body = R"({"__type":"KMSInternalException"})"});
      case Mishap::unavailable:
        return answer({.status = 503, .body = "<html>Service Unavailable</html>"});
      case Mishap::connection_refused:
        return answer({.network = Error{.code = ErrorCode::kms_unavailable,
                                        .message = "Connection refused"}});
      case Mishap::no_answer:
        return answer({.delay = std::chrono::hours(1)});
      case Mishap::not_json:
        return answer({.status = 200, .body = "welcome to the captive portal"});
      case Mishap::half_answer:
        return answer({.status = 200, .body = "{}"});
      case Mishap::short_secret:
        return answer({.status = 200,
                       .body = R"({"CiphertextBlob":"AAAA","KeyId":"k","Plaintext":"c2hvcnQ="})"});
    }
    return false;
  }

 private:
  bool answer(FakeKms::Trouble trouble) {
    trouble.times = 1000;
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

const std::map<std::string, FixtureFactory>& provider_fixtures() {
  static const std::map<std::string, FixtureFactory> fixtures{
      {"local", [] { return std::make_unique<LocalFixture>(); }},
      {"aws", [] { return std::make_unique<AwsFixture>(); }},
  };
  return fixtures;
}

}  // namespace betrace::kms
