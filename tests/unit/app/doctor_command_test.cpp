#include <mutex>
#include <set>

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include "app/program.h"
#include "fake_world.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;

// An AWS KMS and a service, both scripted; asked from several threads.
struct Network {
  std::mutex mutex;
  std::function<HttpAnswer(std::string_view action)> kms;
  std::optional<std::string> report;  // of the service; nothing: it is down
  int kms_calls = 0;

  Result<HttpAnswer> send(const HttpCall& call) {
    const std::lock_guard lock(mutex);
    for (const auto& [name, value] : call.headers) {
      if (name != "X-Amz-Target") continue;
      ++kms_calls;
      return kms(std::string_view(value).substr(value.find('.') + 1));
    }
    if (!report) return fail(ErrorCode::kms_unavailable, "connection refused");
    return HttpAnswer{.status = 200, .body = WipedString(*report)};
  }
};

class NetworkClient final : public HttpClient {
 public:
  explicit NetworkClient(Network& network) : network_(network) {}
  Result<HttpAnswer> send(const HttpCall& call) override { return network_.send(call); }

 private:
  Network& network_;
};

struct DoctorCommand : testing::Test {
  TemporaryDirectory directory;
  FakeWorld fake;
  Network network;
  std::string properties = "betrace.kms.data-dir=" + directory.path() + "\n";

  ExitCode run(bool as_json = true) {
    directory.write("application.properties", properties);
    auto world = fake.world();
    world.http_client = [this] { return std::make_unique<NetworkClient>(network); };
    std::vector<std::string> words = {"doctor", "--config",
                                      directory.path() + "/application.properties"};
    if (as_json) words.emplace_back("--json");
    return run_command(words, world);
  }
  json::array findings() {
    const auto report = json::parse(fake.out.str());
    return report.at("findings").as_array();
  }
  std::vector<std::string> ids() {
    std::vector<std::string> all;
    for (const auto& each : findings()) all.emplace_back(each.at("id").as_string().c_str());
    return all;
  }
  void use_aws() {
    properties +=
        "betrace.kms.provider=aws\n"
        "aws.kms.master-key-id=arn:aws:kms:us-east-1:123456789012:key/abcd\n"
        "aws.kms.region=us-east-1\n";
    fake.variables["AWS_ACCESS_KEY_ID"] = "id";
    fake.variables["AWS_SECRET_ACCESS_KEY"] = "secret";
  }
  static HttpAnswer refused(std::string type, std::string message) {
    return {.status = 400,
            .body = WipedString(R"({"__type":")" + type + R"(","message":")" + message + "\"}")};
  }
  using Ids = std::vector<std::string>;
};

TEST_F(DoctorCommand, WorksWithTheServiceDownAndMakesNoMasterKey) {
  EXPECT_EQ(run(), ExitCode::check_failed);
  EXPECT_EQ(ids(), (Ids{"local-in-production", "service-unreachable"}));
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/local-master.key"));
}

TEST_F(DoctorCommand, ExaminesAwsLiveAndNamesWhatIsDenied) {
  use_aws();
  network.report = R"({"healthy":true,"findings":[]})";
  network.kms = [](std::string_view action) {
    return refused("AccessDeniedException",
                   "User: arn:aws:iam::123456789012:role/betrace-backend-role is not authorized to "
                   "perform: kms:" +
                       std::string(action));
  };
  EXPECT_EQ(run(), ExitCode::check_failed);
  ASSERT_EQ(ids(), Ids{"iam-denied"});
  const auto it = findings()[0];
  const std::string evidence(it.at("evidence").as_string().c_str());
  for (const auto* action : {"GenerateDataKey", "Encrypt", "Decrypt", "DescribeKey"}) {
    EXPECT_NE(evidence.find(std::string("is not authorized to perform: kms:") + action),
              std::string::npos)
        << evidence;
  }
  EXPECT_NE(json::serialize(it.at("remedy")).find("betrace-backend-role"), std::string::npos);
  EXPECT_EQ(network.kms_calls, 4);
}

TEST_F(DoctorCommand, GivesAnUnsupportedProviderAsAFindingAndEndsWithTwo) {
  properties = "betrace.kms.data-dir=" + directory.path() + "\nbetrace.kms.provider=nonsense\n";
  EXPECT_EQ(run(), ExitCode::usage);
  EXPECT_EQ(ids(), (Ids{"unsupported-provider", "service-unreachable"}));
  const auto it = findings()[0].as_object();
  EXPECT_NE(std::string(it.at("cause").as_string().c_str()).find("local, aws"), std::string::npos);
}

TEST_F(DoctorCommand, GivesAConfigurationThatCannotBeReadAsAFindingAndEndsWithTwo) {
  properties += "kms.cache.max-size=many\n";
  EXPECT_EQ(run(), ExitCode::usage);
  EXPECT_EQ(ids(), Ids{"configuration-invalid"});
}

TEST_F(DoctorCommand, TakesFromTheServiceWhatOnlyThatKnowsWithoutDoubles) {
  network.report =
      R"({"healthy":false,"findings":[
        {"id":"breaker-open","severity":"critical","title":"t","evidence":"e","cause":"c",
         "remedy":["r"],"manual":"Issue 10"},
        {"id":"local-in-production","severity":"warning","title":"t","evidence":"of the service",
         "cause":"c","remedy":[],"manual":"Issue 3"}]})";
  EXPECT_EQ(run(), ExitCode::check_failed);
  EXPECT_EQ(ids(), (Ids{"breaker-open", "local-in-production"}));
  EXPECT_EQ(findings()[0].at("remedy"), json::array{"r"});
  EXPECT_NE(findings()[1].at("evidence").as_string(), "of the service") << "its own is newer";
}

TEST_F(DoctorCommand, NamesUnknownKeysAndOpenFiles) {
  properties += "kms.cache.max-sice=3\n";
  directory.write("admin-token", "a-token-of-the-tests-0123456789\n");
  std::filesystem::permissions(
      directory.path() + "/admin-token",
      std::filesystem::perms::others_read | std::filesystem::perms::owner_read);
  network.report = R"({"healthy":true,"findings":[]})";
  EXPECT_EQ(run(), ExitCode::check_failed);
  const auto found = ids();
  const std::set<std::string> all(found.begin(), found.end());
  EXPECT_TRUE(all.contains("unknown-configuration"));
  EXPECT_TRUE(all.contains("token-readable"));
}

TEST_F(DoctorCommand, TellsPeopleWhatWasAskedAndWhatToType) {
  use_aws();
  network.report = R"({"healthy":true,"findings":[]})";
  network.kms = [](std::string_view) {
    return refused("DisabledException", "arn:aws:kms:us-east-1:123456789012:key/abcd is disabled.");
  };
  EXPECT_EQ(run(false), ExitCode::check_failed);
  const auto out = fake.out.str();
  EXPECT_NE(out.find("describe_key         FAIL"), std::string::npos) << out;
  EXPECT_NE(out.find("critical: The master key cannot be used [key-disabled]"), std::string::npos);
  EXPECT_NE(out.find("$ aws kms enable-key --key-id "
                     "arn:aws:kms:us-east-1:123456789012:key/abcd --region us-east-1\n"),
            std::string::npos)
      << out;
}

}  // namespace
}  // namespace betrace::kms
