#include <gtest/gtest.h>

#include "app/config.h"
#include "app/config_keys.h"
#include "app/config_names.h"
#include "config_fixture.h"

namespace betrace::kms {
namespace {

using Lines = std::vector<std::string>;

struct Mistake {
  const char* key;
  const char* value;
  const char* accepted;
};

class ConfigMistake : public ConfigTest {};

TEST_F(ConfigMistake, IsOneLineWithKeyValueSourceAndWhatIsAccepted) {
  const Mistake all[] = {
      {"kms.cache.max-size", "abc", "a whole number from 1 to 10000000"},
      {"kms.cache.max-size", "0", "a whole number from 1 to 10000000"},
      {"kms.cache.max-size", "12.5", "a whole number from 1 to 10000000"},
      {"kms.cache.max-size", "99999999999999999999", "a whole number from 1 to 10000000"},
      {"kms.timeout-ms", "5s", "a whole number from 1 to 600000"},
      {"kms.retry.max-retries", "-1", "a whole number from 0 to 20"},
      {"kms.cache.stale-minutes", "241", "a whole number from 0 to 240"},
      {"quarkus.http.port", "65536", "a whole number from 0 to 65535"},
      {"kms.circuit-breaker.failure-ratio", "0", "a number above 0 and at most 1"},
      {"kms.circuit-breaker.failure-ratio", "1.1", "a number above 0 and at most 1"},
      {"kms.circuit-breaker.failure-ratio", "50%", "a number above 0 and at most 1"},
      {"kms.circuit-breaker.failure-ratio", "nan", "a number above 0 and at most 1"},
      {"kms.rotation.enabled", "maybe", "true or false"},
      {"betrace.admin.anonymous", "sometimes", "one of loopback, never, always"},
      {"quarkus.http.insecure-requests", "on", "one of enabled, disabled"},
      {"quarkus.log.level", "LOUD", "one of OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE, ALL"},
      {"quarkus.log.category.\"a\".level", "LOUD",
       "one of OFF, FATAL, ERROR, WARN, INFO, DEBUG, TRACE, ALL"},
      {"aws.kms.endpoint", "localhost:4566", "an address that begins with http:// or https://"},
      {"vault.addr", "http://", "an address that begins with http:// or https://"},
      {"betrace.kms.store.url", "mysql://db", "sqlite:PATH"},
      {"betrace.kms.store.url", "sqlite:", "sqlite:PATH"},
      {"betrace.kms.store.url", "postgresql://db/kms",
       "sqlite:PATH; PostgreSQL is not in this release yet"},
      {"kms.rotation.check-cron", "0 2 * * *",
       "a Quartz cron expression such as 0 0 2 * * ?, or off ('0 2 * * *' has 5 fields; 6 or 7 are "
       "expected: seconds, minutes, hours, day-of-month, month, day-of-week and perhaps year)"},
      {"kms.rotation.check-cron", "0 0 2 32 * ?",
       "a Quartz cron expression such as 0 0 2 * * ?, or off (day-of-month '32': 32 is not from 1 "
       "to 31; accepted are 1-31, * , - / ?, L, L-3, LW and 15W)"},
      {"kms.rotation.check-cron", "0 0 2 * * $",
       "a Quartz cron expression such as 0 0 2 * * ?, or off (day-of-month '*': exactly one of "
       "day-of-month and day-of-week must be ?; accepted are 1-31, * , - / ?, L, L-3, LW and 15W)"},
      {"kms.rotation.time-zone", "../../etc/passwd",
       "a name of the time zone database such as UTC or Europe/Berlin"},
      {"betrace.kms.provider", "aws kms", "a name of letters, digits, - and _"},
  };
  for (const auto& [key, value, accepted] : all) {
    overrides_ = {{key, value}};
    EXPECT_EQ(mistake(),
              std::string(key) + "='" + value + "' (-D): accepted is " + std::string(accepted));
  }
}

TEST_F(ConfigMistake, NamesFileAndLineOrTheVariable) {
  write("# c\nkms.cache.max-size=x\n");
  EXPECT_EQ(without_folder(mistake()),
            "kms.cache.max-size='x' (application.properties:2): accepted is a whole number from 1 "
            "to 10000000");
  environment_["KMS_CACHE_MAX_SIZE"] = "y";
  EXPECT_EQ(mistake(),
            "kms.cache.max-size='y' (environment KMS_CACHE_MAX_SIZE): accepted is a whole number "
            "from 1 to 10000000");
}

TEST_F(ConfigMistake, AllAreSaidAtOnce) {
  write("kms.cache.max-size=x\nkms.timeout-ms=0\nquarkus.log.level=LOUD\n");
  environment_["KMS_ROTATION_ENABLED"] = "maybe";
  overrides_["vault.token-file"] = folder_.file("none");
  overrides_["betrace.kms.second.aws.kms.endpoint"] = "nowhere";
  EXPECT_EQ(mistakes().size(), 6u) << testing::PrintToString(mistakes());
}

TEST_F(ConfigMistake, AValueCannotForgeASecondLine) {
  overrides_["kms.cache.max-size"] = "1\nforged";
  EXPECT_EQ(mistake(),
            "kms.cache.max-size='1 forged' (-D): accepted is one line without control characters");
}

TEST_F(ConfigMistake, ValuesThatAreAcceptedAreAccepted) {
  const std::pair<const char*, const char*> all[] = {
      {"kms.rotation.check-cron", "0 0 2 * * ?"},
      {"kms.rotation.check-cron", "0 0/15 8-17 ? * MON-FRI 2026-2030"},
      {"kms.rotation.check-cron", "0 0 2 L-3W * ?"},
      {"kms.rotation.check-cron", "0 0 2 ? * 6#3"},
      {"kms.rotation.check-cron", "OFF"},
      {"kms.rotation.check-cron", "disabled"},
      {"kms.rotation.enabled", "FALSE"},
      {"kms.rotation.enabled", "off"},
      {"kms.rotation.time-zone", "America/Argentina/Buenos_Aires"},
      {"kms.circuit-breaker.failure-ratio", "1"},
      {"kms.circuit-breaker.failure-ratio", ".25"},
      {"kms.cache.max-size", "  42 "},
      {"quarkus.http.port", "0"},
      {"betrace.admin.anonymous", "Never"},
      {"aws.kms.endpoint", "HTTPS://vpce-1.kms.us-east-1.vpce.amazonaws.com"},
      {"betrace.kms.provider", "my-own_kms2"},
      {"quarkus.log.level", "finest"},
  };
  for (const auto& [key, value] : all) {
    overrides_ = {{key, value}};
    EXPECT_EQ(mistakes(), Lines{}) << key << "=" << value;
  }
}

TEST_F(ConfigMistake, ACertificateWithoutItsKeyIsRefused) {
  overrides_["quarkus.http.ssl.certificate.files"] = "/etc/tls.crt";
  EXPECT_EQ(mistake(),
            "quarkus.http.ssl.certificate.files='/etc/tls.crt' (-D): accepted is this together "
            "with quarkus.http.ssl.certificate.key-files");
}

TEST_F(ConfigMistake, PlainHttpCannotBeTurnedOffWithoutACertificate) {
  overrides_["quarkus.http.insecure-requests"] = "disabled";
  EXPECT_EQ(mistake(),
            "quarkus.http.insecure-requests='disabled' (-D): accepted is enabled, while "
            "quarkus.http.ssl.certificate.files is not set");
}

// --- warnings -----------------------------------------------------------------------------------

class ConfigWarning : public ConfigTest {};

TEST_F(ConfigWarning, AnUnknownKeyNamesTheNearestKnownOne) {
  const std::pair<const char*, const char*> all[] = {
      {"kms.cache.max-sise", "kms.cache.max-size"},
      {"betrace.kms.providr", "betrace.kms.provider"},
      {"aws.kms.master-key", "aws.kms.master-key-id"},
      {"kms.cache.private-key-ttl-minute", "kms.cache.private-key-ttl-minutes"},
      {"vault.adress", "vault.addr"},
      {"pkcs11.pin-fil", "pkcs11.pin-file"},
      {"betrace.kms.second.vault.adr", "betrace.kms.second.vault.addr"},
      {"quarkus.http.prt", "quarkus.http.port"},
  };
  for (const auto& [unknown, known] : all) {
    overrides_ = {{unknown, "1"}};
    EXPECT_EQ(load().warnings(), (Lines{std::string("unknown configuration key ") + unknown +
                                        " (-D); did you mean " + known + "?"}));
  }
}

TEST_F(ConfigWarning, AnUnknownKeyThatResemblesNothingIsNamedAlone) {
  write("quarkus.datasource.jdbc.url=jdbc:postgresql://x\nbetrace.x=1\n");
  EXPECT_EQ(
      warnings(load()),
      (Lines{"unknown configuration key quarkus.datasource.jdbc.url (application.properties:1)",
             "unknown configuration key betrace.x (application.properties:2)"}));
}

TEST_F(ConfigWarning, KeysOfOthersAreNoneOfOurBusiness) {
  write(
      "spring.x=${NOWHERE}\nserver.port=1 # c\nmp.messaging.x=1\nlocal.x=1\n"
      "betrace.kms.second.acme.address=1\n");
  EXPECT_EQ(load().warnings(), Lines{});
}

TEST_F(ConfigWarning, VariablesOfOtherToolsAreNotHeldAgainstAnybody) {
  environment_ = {{"VAULT_ADDR", "https://v"}, {"AZURE_CLIENT_ID", "c"}};
  EXPECT_EQ(load().warnings(), Lines{});
}

TEST_F(ConfigWarning, AProfileKeyIsSaidToHaveNoEffect) {
  write("%prod.betrace.kms.provider=aws\n");
  const Config config = load();
  EXPECT_EQ(config.text("betrace.kms.provider"), "local");
  EXPECT_EQ(warnings(config),
            (Lines{"%prod.betrace.kms.provider (application.properties:1) has no effect: there are "
                   "no profiles; write betrace.kms.provider"}));
}

TEST_F(ConfigWarning, NamesCannotForgeASecondLine) {
  overrides_ = {
      {"betrace.a\nb", "1"}, {"betrace.\xff", "1"}, {"betrace." + std::string(5000, 'x'), "1"}};
  const Config config = load();
  EXPECT_EQ(config.warnings().size(), 3u);
  for (const auto& warning : config.warnings()) {
    EXPECT_EQ(warning.find_first_of("\n\xff"), std::string::npos);
    EXPECT_LT(warning.size(), 400u);
  }
}

// --- the table ----------------------------------------------------------------------------------

TEST(ConfigKeys, EverySpellingMeansOneKey) {
  std::map<std::string, std::string_view> seen;
  for (const auto& key : config_keys()) {
    for (const auto& name : spellings(key.name)) {
      const auto [at, fresh] = seen.emplace(name, key.name);
      EXPECT_TRUE(fresh) << name << " means " << at->second << " and " << key.name;
      EXPECT_EQ(recognise(name), &key) << name;
      if (key.type != ConfigType::secret) continue;
      EXPECT_EQ(recognise(name + "-file"), &key) << name;
    }
    EXPECT_TRUE(in_our_name_spaces(key.name)) << key.name;
  }
}

TEST(ConfigKeys, OnlySecretsMayBeInFilesOfTheirOwn) {
  EXPECT_EQ(recognise("kms.timeout-ms-file"), nullptr);
  EXPECT_EQ(recognise("betrace.kms.second.kms.timeout-ms"), nullptr);
}

TEST(ConfigKeys, HaveDefaultsThatAreAccepted) { EXPECT_TRUE(Config::load({}).has_value()); }

}  // namespace
}  // namespace betrace::kms
