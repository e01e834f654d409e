// Credentials that a machine or a container is given, against a fake of STS' web identities, of the
// endpoint of ECS and EKS, and of the instance's metadata service.
#include "providers/aws_remote_credentials.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "providers/aws_credential_process.h"
#include "providers/aws_sso.h"
#include "support/fake_clock.h"
#include "support/scripted_http.h"
#include "support/temporary_directory.h"
#include "unit/providers/provider_world.h"

namespace betrace::kms {
namespace {

const CallContext call = CallContext::system("test");
constexpr const char* expiration = "2026-11-26T12:00:00Z";

class FakeHost final : public ScriptedHttp {
 public:
  std::string role = "betrace", authorization;

 private:
  static HttpAnswer keys(std::string_view id) {
    return json(200, fmt::format(R"({{"AccessKeyId":"{}","SecretAccessKey":"s","Token":"t",)"
                                 R"("Expiration":"{}"}})",
                                 id, expiration));
  }
  Result<HttpAnswer> answer(const Seen& seen) override {
    if (seen.url == "https://sts.example/") {
      if (!seen.body.contains("WebIdentityToken=jwt%2Fone")) {
        return json(400,
                    "<ErrorResponse><Error><Code>InvalidIdentityToken</Code>"
                    "<Message>no such token</Message></Error></ErrorResponse>");
      }
      return json(200, fmt::format("<R><AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>s"
                                   "</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{}"
                                   "</Expiration></R>",
                                   expiration));
    }
    if (seen.url.starts_with(
            "https://portal.sso.eu-west-1.amazonaws.com/federation/credentials?")) {
      const bool good = seen.header("x-amz-sso_bearer_token") == "sso" &&
                        seen.path.ends_with("role_name=kms&account_id=123456789012");
      return good ? json(200, R"({"roleCredentials":{"accessKeyId":"ASIASSO",)"
                              R"("secretAccessKey":"s","sessionToken":"t",)"
                              R"("expiration":1795694400000}})")
                  : json(401, R"({"message":"Session token not found or invalid"})");
    }
    if (seen.path == "/v2/credentials/1") {
      return seen.header("Authorization") == authorization ? keys("ASIATASK") : json(401, "{}");
    }
    const bool with_token = seen.header("X-aws-ec2-metadata-token") == "imds";
    if (seen.path == "/latest/api/token" && seen.method == "PUT") return json(200, "imds");
    if (!with_token) return json(401, "");
    const std::string roles = "/latest/meta-data/iam/security-credentials/";
    if (seen.path == roles) return role.empty() ? json(404, "") : json(200, role);
    return seen.path == roles + role ? keys("ASIAINSTANCE") : json(404, "");
  }
};

struct AwsRemoteTest : testing::Test {
  FakeHost host;
  FakeClock clock;
  TemporaryDirectory folder;
  std::map<std::string, std::string, std::less<>> variables;

  ProviderEnvironment environment() {
    return {
        .settings = [](std::string_view) { return std::nullopt; },
        .http = host,
        .clock = clock,
        .environment = [this](const char* name) { return ProviderWorld::look_up(variables, name); },
        .data_dir = ""};
  }
  std::string file(const std::string& name, const std::string& content) {
    const auto path = folder.path() + "/" + name;
    std::ofstream(path) << content;
    return path;
  }
  // The access key id, or why there is none.
  template <class Source>
  std::string outcome(Source source) {
    const auto found = source.load(call);
    if (!found) return found.error().message;
    if (!*found) return "none: " + source.description();
    EXPECT_EQ((*found)->expires_at, parse_utc_time(expiration));
    EXPECT_EQ((*found)->session_token, "t");
    return (*found)->access_key_id;
  }
  std::string web() {
    return outcome(
        WebIdentityCredentials(environment(), {{"us-east-1", "", "https://sts.example"}}));
  }
  std::string container() { return outcome(ContainerCredentials(environment())); }
  std::string instance() { return outcome(InstanceCredentials(environment())); }
};

TEST_F(AwsRemoteTest, AWebIdentityIsExchangedUnsignedAndReadAtEachLoad) {
  EXPECT_TRUE(web().starts_with("none: "));
  variables["AWS_WEB_IDENTITY_TOKEN_FILE"] = file("token", "jwt/one\n");
  EXPECT_EQ(web(), "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not; both are needed");
  variables["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/kms";
  EXPECT_EQ(web(), "ASIAWEB");
  const auto asked = host.seen().back();
  EXPECT_EQ(asked.header("Authorization"), "");
  EXPECT_TRUE(
      asked.body.starts_with("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn="
                             "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fkms&RoleSessionName="
                             "betrace-kms&"));
  file("token", "canary");
  const auto refused = web();
  EXPECT_NE(refused.find("no such token"), std::string::npos);
  EXPECT_EQ(refused.find("canary"), std::string::npos);
}

TEST_F(AwsRemoteTest, ATaskOfEcsAsksTheAddressThatAwsHasForIt) {
  EXPECT_TRUE(container().starts_with("none: "));
  variables["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/1";
  EXPECT_EQ(container(), "ASIATASK");
  EXPECT_EQ(host.seen().back().url, "http://169.254.170.2/v2/credentials/1");
}

TEST_F(AwsRemoteTest, APodOfEksShowsTheTokenOfItsFile) {
  variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://169.254.170.23/v2/credentials/1";
  variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = file("token", "pod-token\n");
  host.authorization = "pod-token";
  EXPECT_EQ(container(), "ASIATASK");
  host.authorization = "another";
  EXPECT_NE(container().find("HTTP 401"), std::string::npos);
}

TEST_F(AwsRemoteTest, PlainHttpGoesToThisMachineAndAwssOwnAddressesOnly) {
  for (const auto& [url, good] : std::initializer_list<std::pair<std::string, bool>>{
           {"http://localhost:1/v2/credentials/1", true},
           {"http://127.0.0.1/v2/credentials/1", true},
           {"http://[::1]:80/v2/credentials/1", true},
           {"http://[fd00:ec2::23]/v2/credentials/1", true},
           {"https://elsewhere.example/v2/credentials/1", true},
           {"http://elsewhere.example/v2/credentials/1", false},
           {"http://169.254.170.2.example/v2/credentials/1", false},
           {"ftp://localhost/v2/credentials/1", false}}) {
    variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url;
    EXPECT_EQ(container() == "ASIATASK", good) << url;
  }
}

TEST_F(AwsRemoteTest, AnInstanceHasItsRolesKeysByImdsV2) {
  EXPECT_EQ(instance(), "ASIAINSTANCE");
  const auto seen = host.seen();
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].method, "PUT");
  EXPECT_EQ(seen[0].header("X-aws-ec2-metadata-token-ttl-seconds"), "21600");
  EXPECT_EQ(seen[2].url,
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/betrace");
  variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://[fd00:ec2::254]/";
  EXPECT_EQ(instance(), "ASIAINSTANCE");
  EXPECT_TRUE(host.seen().back().url.starts_with("http://[fd00:ec2::254]/latest/"));
}

TEST_F(AwsRemoteTest, AnInstanceWithoutThemSaysWhy) {
  host.role = "";
  EXPECT_EQ(instance(), "none: instance metadata (the instance has no role)");
  host.add_trouble({.path = "/latest/api/token", .delay = std::chrono::seconds(2)});
  EXPECT_EQ(instance(),
            "none: instance metadata (no answer; in a container the instance's hop limit must be 2 "
            "or more)");
  host.add_trouble({.path = "/latest/api/token", .status = 403});
  EXPECT_EQ(instance(), "none: instance metadata (HTTP 403)");
  variables["AWS_EC2_METADATA_DISABLED"] = "true";
  const auto before = host.seen().size();
  EXPECT_EQ(instance(), "none: instance metadata (AWS_EC2_METADATA_DISABLED)");
  EXPECT_EQ(host.seen().size(), before);
}

TEST_F(AwsRemoteTest, AnInstanceThatHadThemOrIsBusyIsAnOutage) {
  InstanceCredentials its(environment());
  ASSERT_TRUE(its.load(call));
  host.add_trouble({.path = "/latest/api/token", .delay = std::chrono::seconds(2)});
  const auto silent = its.load(call);
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, ErrorCode::kms_unavailable);
  EXPECT_TRUE(its.load(call));
  for (const int status : {429, 503}) {
    InstanceCredentials fresh(environment());
    host.add_trouble({.path = "/latest/api/token", .status = status});
    EXPECT_EQ(fresh.load(call).error().code, ErrorCode::kms_unavailable) << status;
  }
}

TEST_F(AwsRemoteTest, SsoGivesARoleForTheTokenOfTheLogIn) {
  const SsoRequest request{.profile = "corp",
                           .session = "session",
                           .start_url = {},
                           .region = "eu-west-1",
                           .account = "123456789012",
                           .role = "kms",
                           .cache_folder = folder.path()};
  // As botocore names it: SHA-1 of "session".
  EXPECT_EQ(sso_cache_file(request),
            folder.path() + "/fcbdc4c271c889825d8338d2d8f10b6e5e95c171.json");
  const auto name = sso_cache_file(request).substr(folder.path().size() + 1);
  const auto outcome_now = [&] {
    const auto found = sso_credentials(request, host, clock, call);
    return found ? found->access_key_id : found.error().message;
  };
  EXPECT_NE(outcome_now().find("log in with: aws sso login --profile corp"), std::string::npos);
  const auto later = rfc3339(clock.now() + std::chrono::hours(1));
  file(name, fmt::format(R"({{"accessToken":"sso","expiresAt":"{}"}})", later));
  EXPECT_EQ(outcome_now(), "ASIASSO");
  file(name, fmt::format(R"({{"accessToken":"canary","expiresAt":"{}"}})", later));
  EXPECT_NE(outcome_now().find("its SSO token is refused; log in with"), std::string::npos);
  file(name, R"({"accessToken":"canary","expiresAt":"2020-01-01T00:00:00Z"})");
  EXPECT_NE(outcome_now().find("its SSO token ended at 2020-01-01T00:00:00Z"), std::string::npos);
  EXPECT_EQ(outcome_now().find("canary"), std::string::npos);
}

TEST(AwsCommand, IsSplitAtBlanksThatAreNotQuoted) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(split_command("/bin/x  a\tb"), (Words{"/bin/x", "a", "b"}));
  EXPECT_EQ(split_command(R"("/opt/my tool" --a="b c" "")"),
            (Words{"/opt/my tool", "--a=b c", ""}));
  EXPECT_EQ(split_command(R"("open)"), std::nullopt);
  EXPECT_EQ(split_command(" "), Words{});
}

struct AwsProcessTest : testing::Test {
  FakeClock clock;
  TemporaryDirectory folder;

  std::string outcome(const std::string& script, const CallContext& under = call) {
    const auto path = folder.path() + "/program";
    std::ofstream(path) << script;
    const auto found = run_credential_process("/bin/sh \"" + path + "\"", under, clock);
    return found ? found->access_key_id : found.error().message;
  }
};

TEST_F(AwsProcessTest, PrintsCredentials) {
  const auto printed = run_credential_process(R"(/bin/echo "{\"Version\":1}")", call, clock);
  EXPECT_FALSE(printed);
  EXPECT_EQ(outcome(R"(echo '{"Version":1,"AccessKeyId":"AKIAP","SecretAccessKey":"s"}')"),
            "AKIAP");
  EXPECT_EQ(outcome("echo canary >&2; "
                    R"(echo '{"Version":1,"AccessKeyId":"AKIAP","SecretAccessKey":"s",)"
                    R"("SessionToken":"t","Expiration":"2026-11-26T12:00:00Z"}')"),
            "AKIAP");
}

TEST_F(AwsProcessTest, SaysWhatItDidWrongAndNothingOfWhatItPrinted) {
  for (const auto& [script, fault] : std::initializer_list<std::pair<std::string, std::string>>{
           {"echo canary; exit 3", "ended with 3"},
           {"echo canary", "printed something that is no credentials of Version 1"},
           {R"(echo '{"Version":2,"AccessKeyId":"canary","SecretAccessKey":"canary"}')",
            "of Version 1"},
           {"kill -9 $$", "ended with 137"},
           {"yes canary", "printed more than 64 KiB"}}) {
    const auto said = outcome(script);
    EXPECT_NE(said.find(fault), std::string::npos) << said;
    EXPECT_EQ(said.find("canary"), std::string::npos) << said;
  }
  EXPECT_NE(run_credential_process("/nonexistent", call, clock)
                .error()
                .message.find("cannot be run: No such file"),
            std::string::npos);
}

TEST_F(AwsProcessTest, IsKilledAtTheDeadline) {
  CallContext late = call;
  late.deadline = clock.steady_now();
  const auto path = folder.path() + "/program";
  std::ofstream(path) << "exec sleep 600";
  const auto found = run_credential_process("/bin/sh " + path, late, clock);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kms_timeout);
}

TEST_F(AwsProcessTest, IsKilledAtTheDeadlineThoughItHasClosedItsOutput) {
  CallContext soon = call;
  soon.deadline = system_clock().steady_now() + std::chrono::milliseconds(50);
  const auto path = folder.path() + "/program";
  std::ofstream(path) << "exec >&-; exec sleep 600";
  const auto found = run_credential_process("/bin/sh " + path, soon, system_clock());
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kms_timeout);
}

}  // namespace
}  // namespace betrace::kms
