#include "app/config.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/encoding.h"
#include "config_fixture.h"

namespace betrace::kms {
namespace {

using Lines = std::vector<std::string>;

TEST_F(ConfigTest, WithoutAnythingTheDefaultsHold) {
  const Config config = load();
  EXPECT_EQ(config.text("betrace.kms.provider"), "local");
  EXPECT_EQ(config.text("aws.kms.region"), "us-east-1");
  EXPECT_FALSE(config.get("aws.kms.master-key-id"));
  EXPECT_EQ(config.integer("kms.cache.private-key-ttl-minutes"), 60);
  EXPECT_EQ(config.integer("kms.cache.public-key-ttl-hours"), 24);
  EXPECT_EQ(config.integer("kms.cache.max-size"), 1000);
  EXPECT_EQ(config.integer("kms.timeout-ms"), 5000);
  EXPECT_EQ(config.ratio("kms.circuit-breaker.failure-ratio"), 0.5);
  EXPECT_TRUE(config.flag("kms.rotation.enabled"));
  EXPECT_FALSE(config.flag("betrace.kms.tenants.auto-create"));
  EXPECT_EQ(config.text("quarkus.http.host"), "127.0.0.1");
  EXPECT_EQ(config.integer("quarkus.http.port"), 8080);
  EXPECT_TRUE(config.secret("betrace.admin.token").empty());
  EXPECT_EQ(config.warnings(), Lines{});
  EXPECT_EQ(config.file_used(), "");
}

TEST_F(ConfigTest, DefaultsThatLieInTheDataDirectoryFollowIt) {
  overrides_["betrace.kms.data-dir"] = "/var/lib/betrace-kms";
  const Config config = load();
  EXPECT_EQ(config.text("betrace.kms.store.url"), "sqlite:/var/lib/betrace-kms/betrace-kms.db");
  EXPECT_EQ(config.text("betrace.kms.local.master-key-file"),
            "/var/lib/betrace-kms/local-master.key");
}

TEST_F(ConfigTest, OverridesPrecedeTheEnvironmentWhichPrecedesTheFile) {
  write("kms.cache.max-size=1\nkms.timeout-ms=1\nkms.retry.delay-ms=1\n");
  environment_["KMS_CACHE_MAX_SIZE"] = "2";
  environment_["KMS_TIMEOUT_MS"] = "2";
  overrides_["kms.cache.max-size"] = "3";
  const Config config = load();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 3);
  EXPECT_EQ(config.integer("kms.timeout-ms"), 2);
  EXPECT_EQ(config.integer("kms.retry.delay-ms"), 1);
  EXPECT_EQ(config.integer("kms.retry.jitter-ms"), 50);
  EXPECT_EQ(source(config, "kms.cache.max-size"), "-D");
  EXPECT_EQ(source(config, "kms.timeout-ms"), "environment KMS_TIMEOUT_MS");
  EXPECT_EQ(source(config, "kms.retry.delay-ms"), "application.properties:3");
  EXPECT_EQ(source(config, "kms.retry.jitter-ms"), "default");
}

TEST_F(ConfigTest, TheEnvironmentIsAskedAsMicroProfileDoes) {
  for (const char* name : {"kms.cache.max-size", "kms_cache_max_size", "KMS_CACHE_MAX_SIZE"}) {
    environment_ = {{name, "7"}};
    const Config config = load();
    EXPECT_EQ(config.integer("kms.cache.max-size"), 7) << name;
    EXPECT_EQ(source(config, "kms.cache.max-size"), std::string("environment ") + name);
  }
  environment_ = {
      {"kms.cache.max-size", "1"}, {"kms_cache_max_size", "2"}, {"KMS_CACHE_MAX_SIZE", "3"}};
  EXPECT_EQ(load().integer("kms.cache.max-size"), 1);
  environment_.erase("kms.cache.max-size");
  EXPECT_EQ(load().integer("kms.cache.max-size"), 2);
}

TEST_F(ConfigTest, AnEmptyValueCountsAsAbsent) {
  write("kms.cache.max-size=5\nvault.namespace=\n");
  environment_["KMS_CACHE_MAX_SIZE"] = "";
  overrides_["kms.cache.max-size"] = "";
  const Config config = load();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 5);
  EXPECT_FALSE(config.get("vault.namespace"));
  EXPECT_FALSE(config.is_set("vault.namespace"));
}

TEST_F(ConfigTest, EveryKmsKeyMayBeWrittenWithAndWithoutItsPrefix) {
  overrides_["betrace.kms.cache.max-size"] = "11";
  overrides_["kms.provider"] = "aws";
  environment_["BETRACE_KMS_TIMEOUT_MS"] = "12";
  write("betrace.kms.retry.max-retries=1\nkms.data-dir=/srv/kms\n");
  const Config config = load();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 11);
  EXPECT_EQ(config.text("betrace.kms.provider"), "aws");
  EXPECT_EQ(config.integer("kms.timeout-ms"), 12);
  EXPECT_EQ(config.integer("kms.retry.max-retries"), 1);
  EXPECT_EQ(config.text("betrace.kms.data-dir"), "/srv/kms");
  EXPECT_EQ(config.text("betrace.kms.store.url"), "sqlite:/srv/kms/betrace-kms.db");
  EXPECT_EQ(config.warnings(), Lines{});
}

TEST_F(ConfigTest, BothSpellingsAtOnceAreSaid) {
  write("kms.cache.max-size=1\nbetrace.kms.cache.max-size=2\n");
  const Config config = load();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 1);
  EXPECT_EQ(warnings(config), (Lines{"betrace.kms.cache.max-size (application.properties:2) is "
                                     "ignored: kms.cache.max-size is set too"}));
}

TEST_F(ConfigTest, KnowsTheVariablesOfOtherTools) {
  environment_ = {{"VAULT_ADDR", "https://vault:8200"},
                  {"VAULT_TOKEN", "hvs.1"},
                  {"VAULT_NAMESPACE", "team"},
                  {"ADMIN_TOKEN", "admin"},
                  {"AZURE_TENANT_ID", "t"},
                  {"AZURE_CLIENT_ID", "c"},
                  {"AZURE_CLIENT_SECRET", "s"},
                  {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318"}};
  const Config config = load();
  EXPECT_EQ(config.text("vault.addr"), "https://vault:8200");
  EXPECT_EQ(as_text(config.secret("vault.token").expose()), "hvs.1");
  EXPECT_EQ(config.text("vault.namespace"), "team");
  EXPECT_EQ(as_text(config.secret("betrace.admin.token").expose()), "admin");
  EXPECT_EQ(config.text("azure.keyvault.tenant-id"), "t");
  EXPECT_EQ(config.text("azure.keyvault.client-id"), "c");
  EXPECT_EQ(as_text(config.secret("azure.keyvault.client-secret").expose()), "s");
  EXPECT_EQ(config.text("quarkus.otel.exporter.otlp.endpoint"), "http://otel:4318");
}

TEST_F(ConfigTest, OwnNamesPrecedeTheVariablesOfOtherTools) {
  environment_ = {{"ADMIN_TOKEN", "other"}, {"BETRACE_ADMIN_TOKEN", "own"}};
  EXPECT_EQ(as_text(load().secret("betrace.admin.token").expose()), "own");
}

TEST_F(ConfigTest, TheProviderIsReadInAnyCase) {
  overrides_["betrace.kms.provider"] = " AWS ";
  EXPECT_EQ(load().text("betrace.kms.provider"), "aws");
}

TEST_F(ConfigTest, TheManualsSnippetsWorkAsTheyStand) {
  write(R"(# backend/src/main/resources/application.properties
betrace.kms.provider=aws
aws.kms.master-key-id=arn:aws:kms:us-east-1:123456789012:key/abcd-1234-...
aws.kms.region=us-east-1
aws.kms.endpoint=http://localhost:4566
# Default: 60 minutes private, 24 hours public
kms.cache.private-key-ttl-minutes=120  # 2 hours
kms.cache.public-key-ttl-hours=48      # 48 hours
kms.cache.max-size=2000  # Default: 1000
kms.rotation.enabled=true
kms.rotation.check-cron=0 0 2 * * ?  # Daily at 2 AM
kms.rotation.max-age-days=90
# Enable KMS debug logging
quarkus.log.category."com.betrace.kms".level=DEBUG
quarkus.log.category."com.betrace.services.KeyRetrievalService".level=DEBUG
quarkus.log.category."software.amazon.awssdk".level=DEBUG
)");
  const Config config = load();
  EXPECT_EQ(config.text("betrace.kms.provider"), "aws");
  EXPECT_EQ(config.integer("kms.cache.private-key-ttl-minutes"), 120);
  EXPECT_EQ(config.integer("kms.cache.public-key-ttl-hours"), 48);
  EXPECT_EQ(config.integer("kms.cache.max-size"), 2000);
  EXPECT_EQ(config.text("kms.rotation.check-cron"), "0 0 2 * * ?");
  EXPECT_EQ(config.log_category_levels(), (std::map<std::string, std::string>{
                                              {"com.betrace.kms", "DEBUG"},
                                              {"com.betrace.services.KeyRetrievalService", "DEBUG"},
                                              {"software.amazon.awssdk", "DEBUG"}}));
  const auto said = warnings(config);
  for (const char* line : {":7: the comment behind the value of kms.cache.private-key-ttl-minutes",
                           ":9: the comment behind the value of kms.cache.max-size",
                           ":11: the comment behind the value of kms.rotation.check-cron"}) {
    EXPECT_TRUE(std::ranges::any_of(said, [&](const auto& warning) {
      return warning.starts_with("application.properties" + std::string(line));
    })) << line;
  }
}

TEST_F(ConfigTest, TheFirstFileThatExistsIsRead) {
  auto inputs = this->inputs();
  folder_.write("second.properties", "kms.cache.max-size=2\n");
  folder_.write("third.properties", "kms.cache.max-size=3\n");
  inputs.search_paths = {folder_.file("none.properties"), folder_.path(),
                         folder_.file("second.properties"), folder_.file("third.properties")};
  const Config config = Config::load(inputs).value();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 2);
  EXPECT_EQ(config.file_used(), folder_.file("second.properties"));
}

TEST_F(ConfigTest, TheProgramLooksInTheContractsOrder) {
  EXPECT_EQ(ConfigInputs::of_program().search_paths,
            (Lines{"./application.properties", "./config/application.properties",
                   "/etc/betrace/application.properties", "/opt/betrace/application.properties"}));
}

TEST_F(ConfigTest, AFileThatWasAskedForMustBeThere) {
  auto inputs = this->inputs();
  inputs.file = folder_.file("none.properties");
  const auto config = Config::load(inputs);
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(without_folder(config.error().message),
            "cannot read configuration file 'none.properties': No such file or directory");
  inputs.file = folder_.path();
  EXPECT_NE(Config::load(inputs).error().message.find("it is a directory"), std::string::npos);
}

TEST_F(ConfigTest, AMalformedFileNamesFileAndLine) {
  write("a=1\nb=\\u00");
  EXPECT_EQ(without_folder(mistake()),
            "application.properties: line 2: malformed \\uXXXX escape: four hexadecimal digits are "
            "accepted, and surrogates in pairs");
}

TEST_F(ConfigTest, AFileThatIsTooLargeIsRefused) {
  write(std::string((1 << 20) + 1, '#'));
  EXPECT_NE(mistake().find("larger than 1048576 bytes"), std::string::npos);
}

TEST_F(ConfigTest, AKeyThatIsSetTwiceInTheFileIsSaid) {
  write("kms.cache.max-size=1\n\nkms.cache.max-size=2\nother.tool=1\nother.tool=2\n");
  const Config config = load();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 2);
  EXPECT_EQ(warnings(config),
            (Lines{"kms.cache.max-size is set twice: application.properties:3 replaces line 1"}));
}

TEST_F(ConfigTest, CategoryLevelsComeFromEverySource) {
  write(R"(quarkus.log.level=warn
quarkus.log.category."a.b".level=TRACE
quarkus.log.category.plain.level=OFF
)");
  environment_["QUARKUS_LOG_CATEGORY__COM_BETRACE_KMS__LEVEL"] = "DEBUG";
  overrides_["quarkus.log.category.\"a.b\".level"] = "FINE";
  const Config config = load();
  EXPECT_EQ(config.text("quarkus.log.level"), "warn");
  EXPECT_EQ(config.log_category_levels(),
            (std::map<std::string, std::string>{
                {"a.b", "FINE"}, {"plain", "OFF"}, {"com.betrace.kms", "DEBUG"}}));
}

TEST_F(ConfigTest, ALibraryUserNeedsNothingButAMap) {
  ::setenv("KMS_CACHE_MAX_SIZE", "77", 1);
  ConfigInputs inputs;
  inputs.overrides = {{"betrace.kms.data-dir", "/srv"}, {"kms.cache.max-size", "0"}};
  inputs.overrides_name = "settings";
  const auto refused = Config::load(inputs);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message,
            "kms.cache.max-size='0' (settings): accepted is a whole number from 1 to 10000000");
  inputs.overrides.erase("kms.cache.max-size");
  EXPECT_EQ(Config::load(inputs).value().integer("kms.cache.max-size"), 1000);
  ::unsetenv("KMS_CACHE_MAX_SIZE");
}

TEST_F(ConfigTest, TheProgramReadsTheEnvironmentOfTheProcess) {
  ::setenv("KMS_CACHE_MAX_SIZE", "77", 1);
  auto inputs = ConfigInputs::of_program();
  inputs.search_paths.clear();
  EXPECT_EQ(Config::load(inputs).value().integer("kms.cache.max-size"), 77);
  ::unsetenv("KMS_CACHE_MAX_SIZE");
}

// --- settings of providers ----------------------------------------------------------------------

TEST_F(ConfigTest, AProviderSeesItsSettingsDefaultsIncluded) {
  overrides_ = {{"aws.kms.master-key-id", "alias/betrace"},
                {"vault.token", "hvs.1"},
                {"acme.kms.address", "https://acme"}};
  environment_["ACME_KMS_USER"] = "me";
  const Settings settings = load().settings();
  EXPECT_EQ(settings("aws.kms.master-key-id"), "alias/betrace");
  EXPECT_EQ(settings("aws.kms.endpoint"), std::nullopt);
  EXPECT_EQ(settings("vault.transit.mount"), "transit");
  EXPECT_EQ(settings("vault.token"), "hvs.1");
  EXPECT_EQ(settings("pkcs11.pin"), std::nullopt);
  EXPECT_EQ(settings("betrace.kms.local.master-key-file"), "data/local-master.key");
  EXPECT_EQ(settings("acme.kms.address"), "https://acme");
  EXPECT_EQ(settings("acme.kms.user"), "me");
  EXPECT_EQ(settings("acme.kms.none"), std::nullopt);
}

TEST_F(ConfigTest, TheRegionIsTheProvidersToFindWhileItIsUnset) {
  environment_["AWS_REGION"] = "eu-west-1";
  const Config config = load();
  EXPECT_EQ(config.settings()("aws.kms.region"), std::nullopt);
  EXPECT_EQ(config.text("aws.kms.region"), "eu-west-1");
  overrides_["aws.kms.region"] = "eu-central-1";
  EXPECT_EQ(load().settings()("aws.kms.region"), "eu-central-1");
}

TEST_F(ConfigTest, AFurtherProviderReadsUnderItsPrefix) {
  write(R"(aws.kms.master-key-id=alias/first
aws.kms.region=us-east-1
betrace.kms.previous.aws.kms.master-key-id=alias/previous
kms.second.vault.addr=https://second:8200
betrace.kms.second.vault.token=hvs.2
betrace.kms.previous.local.master-key-file=/old/master.key
betrace.kms.second.acme.x=y
)");
  const Config config = load();
  const Settings previous = config.settings("betrace.kms.previous.");
  const Settings second = config.settings("betrace.kms.second.");
  EXPECT_EQ(previous("aws.kms.master-key-id"), "alias/previous");
  EXPECT_EQ(previous("aws.kms.region"), std::nullopt);
  EXPECT_EQ(previous("betrace.kms.local.master-key-file"), "/old/master.key");
  EXPECT_EQ(second("aws.kms.master-key-id"), std::nullopt);
  EXPECT_EQ(second("vault.addr"), "https://second:8200");
  EXPECT_EQ(second("vault.token"), "hvs.2");
  EXPECT_EQ(second("vault.transit.mount"), "transit");
  EXPECT_EQ(second("acme.x"), "y");
  EXPECT_EQ(config.settings()("vault.token"), std::nullopt);
}

TEST_F(ConfigTest, SettingsOutliveTheConfiguration) {
  overrides_["aws.kms.master-key-id"] = "alias/betrace";
  Settings settings;
  {
    const Config config = load();
    settings = config.settings();
  }
  EXPECT_EQ(settings("aws.kms.master-key-id"), "alias/betrace");
}

// --- expressions --------------------------------------------------------------------------------

TEST_F(ConfigTest, ExpressionsAreLookedUpInAllSources) {
  write(R"(kms.cache.max-size=${CACHE_SIZE:500}
kms.timeout-ms=${my.timeout}
my.timeout=250
kms.retry.delay-ms=${kms.retry.jitter-ms}
quarkus.log.file.path=/var/log/${APP_NAME:betrace}/${FILE:kms.log}
betrace.kms.data-dir=${BASE:${HOME_DIR:/opt}}/data
aws.kms.master-key-id=${key.${STAGE}}
key.prod=alias/prod
vault.namespace=${NOTHING:}
vault.transit.mount=\${literal}
)");
  environment_ = {{"APP_NAME", "kms"}, {"HOME_DIR", "/home/kms"}, {"STAGE", "prod"}};
  const Config config = load();
  EXPECT_EQ(config.integer("kms.cache.max-size"), 500);
  EXPECT_EQ(config.integer("kms.timeout-ms"), 250);
  EXPECT_EQ(config.integer("kms.retry.delay-ms"), 50);
  EXPECT_EQ(config.text("quarkus.log.file.path"), "/var/log/kms/kms.log");
  EXPECT_EQ(config.text("betrace.kms.data-dir"), "/home/kms/data");
  EXPECT_EQ(config.text("aws.kms.master-key-id"), "alias/prod");
  EXPECT_FALSE(config.get("vault.namespace"));
  EXPECT_EQ(config.text("vault.transit.mount"), "${literal}");
}

TEST_F(ConfigTest, AnExpressionWithoutAValueIsAMistake) {
  write("kms.cache.max-size=${CACHE_SIZE}\n");
  EXPECT_EQ(without_folder(mistake()),
            "kms.cache.max-size (application.properties:1): the expression ${CACHE_SIZE} has no "
            "value; set CACHE_SIZE, or write a default as in ${CACHE_SIZE:default}");
}

TEST_F(ConfigTest, ExpressionsThatGoInACircleAreFound) {
  write("kms.cache.max-size=${a}\na=${b}\nb=${a}\n");
  EXPECT_NE(mistake().find("refers to itself"), std::string::npos);
  write("kms.cache.max-size=${kms.cache.max-size}\n");
  EXPECT_NE(mistake().find("${kms.cache.max-size} refers to itself"), std::string::npos);
}

TEST_F(ConfigTest, ExpressionsCannotGrowWithoutBound) {
  std::string text = "quarkus.log.file.path=${a0}\n";
  for (int i = 0; i < 20; ++i) {
    const auto next = "${a" + std::to_string(i + 1) + "}";
    text += "a" + std::to_string(i) + "=" + next + next + next + next + "\n";
  }
  text += "a20=xxxxxxxxxxxxxxxx\n";
  write(text);
  EXPECT_NE(mistake().find("expand to more than"), std::string::npos);
}

TEST_F(ConfigTest, AnOpenExpressionIsAMistake) {
  overrides_["kms.cache.max-size"] = "${CACHE_SIZE";
  EXPECT_EQ(mistake(),
            "kms.cache.max-size (-D): an expression ${… is not closed; \\${ stands for a plain ${");
}

}  // namespace
}  // namespace betrace::kms
