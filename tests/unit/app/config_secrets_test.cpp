#include <gtest/gtest.h>
#include <sys/stat.h>

#include "app/config.h"
#include "app/config_keys.h"
#include "base/encoding.h"
#include "base/json.h"
#include "config_fixture.h"

namespace betrace::kms {
namespace {

using Lines = std::vector<std::string>;
constexpr std::string_view canary = "c4n4ry-7Qm2";

class ConfigSecret : public ConfigTest {
 protected:
  // Everything that people may get to see of a configuration.
  std::string visible(const Config& config) const {
    std::string all = render_config(config, false) + render_config(config, true);
    for (const auto& warning : config.warnings()) all += warning;
    return all;
  }
  std::string text(const Config& config, std::string_view key) const {
    return std::string(as_text(config.secret(key).expose()));
  }
  std::string secret_file(std::string_view content, mode_t mode) {
    const auto path = folder_.write("secret", content);
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
};

TEST_F(ConfigSecret, IsMaskedWhereverItComesFrom) {
  for (const auto& key : config_keys()) {
    if (key.type != ConfigType::secret) continue;
    const std::string name(key.name);
    const std::string value = std::string(canary);
    write(name + "=" + value + " # " + value + "\nother.secret=" + value + "\n");
    EXPECT_EQ(visible(load()).find(canary), std::string::npos) << name;
    EXPECT_NE(render_config(load(), false).find(name + "=****"), std::string::npos) << name;
    write("");
    overrides_ = {{name, value}};
    EXPECT_EQ(visible(load()).find(canary), std::string::npos) << name;
    overrides_ = {{name + "-file", secret_file(value, 0644)}};
    EXPECT_EQ(visible(load()).find(canary), std::string::npos) << name;
    EXPECT_EQ(text(load(), name), value);
    overrides_ = {{"betrace.kms.second." + name, value}};
    EXPECT_TRUE(!key.of_provider || visible(load()).find(canary) == std::string::npos) << name;
    overrides_.clear();
  }
}

TEST_F(ConfigSecret, IsNotShownByAMistakeInIt) {
  const std::string value(canary);
  for (const std::string& wrong :
       {value + "\nx", "${" + value + "}", "a${" + value, value + "\x01"}) {
    overrides_ = {{"vault.token", wrong}};
    EXPECT_EQ(mistake().find(canary), std::string::npos) << mistake();
    EXPECT_NE(mistake().find("vault.token='****'"), std::string::npos) << mistake();
  }
}

TEST_F(ConfigSecret, PasswordsInAddressesAreMasked) {
  overrides_["betrace.kms.store.url"] = "postgresql://kms:" + std::string(canary) + "@db/kms";
  EXPECT_EQ(mistake().find(canary), std::string::npos);
  EXPECT_NE(mistake().find("postgresql://kms:****@db/kms"), std::string::npos) << mistake();
  overrides_["betrace.kms.store.url"] =
      "postgresql://db/kms?password=" + std::string(canary) + "&a=b";
  EXPECT_NE(mistake().find("postgresql://db/kms?password=****&a=b"), std::string::npos)
      << mistake();
  overrides_.clear();
  overrides_["aws.kms.endpoint"] = "https://me:" + std::string(canary) + "@proxy:1/x";
  EXPECT_EQ(visible(load()).find(canary), std::string::npos);
}

TEST_F(ConfigSecret, MayBeReadFromAFileOfItsOwn) {
  overrides_["vault.token-file"] = secret_file("hvs.1\n", 0600);
  const Config config = load();
  EXPECT_EQ(text(config, "vault.token"), "hvs.1");
  EXPECT_EQ(source(config, "vault.token"), "secret (-D)");
  EXPECT_EQ(config.settings()("vault.token"), "hvs.1");
}

TEST_F(ConfigSecret, OnlyTheLineEndOfAFileIsCut) {
  overrides_["pkcs11.pin-file"] = secret_file(" 12 34 \r\n", 0400);
  EXPECT_EQ(text(load(), "pkcs11.pin"), " 12 34 ");
}

TEST_F(ConfigSecret, TheVariableOfAFileWorksToo) {
  environment_["ADMIN_TOKEN_FILE"] = secret_file("t\n", 0600);
  EXPECT_EQ(text(load(), "betrace.admin.token"), "t");
  environment_ = {{"BETRACE_ADMIN_TOKEN_FILE", folder_.file("secret")}};
  EXPECT_EQ(text(load(), "betrace.admin.token"), "t");
}

TEST_F(ConfigSecret, AFileThatOthersCanReadWarns) {
  overrides_["betrace.admin.token-file"] = secret_file("t", 0644);
  EXPECT_EQ(warnings(load()), (Lines{"secret file 'secret' is readable by others (mode 0644); its "
                                     "mode should be 0400 or 0600"}));
  ASSERT_EQ(::chmod(folder_.file("secret").c_str(), 0440), 0);
  EXPECT_EQ(load().warnings(), Lines{});
}

TEST_F(ConfigSecret, AFileThatCannotServeIsAMistake) {
  overrides_["betrace.admin.token-file"] = folder_.file("none");
  EXPECT_EQ(without_folder(mistake()),
            "betrace.admin.token-file='none' (-D): No such file or directory; accepted is a file "
            "with one line");
  overrides_["betrace.admin.token-file"] = secret_file("\n", 0600);
  EXPECT_NE(mistake().find("it is empty"), std::string::npos);
  secret_file("a\nb\n", 0600);
  EXPECT_NE(mistake().find("more than one line"), std::string::npos);
  secret_file(std::string(70000, 'x'), 0600);
  EXPECT_NE(mistake().find("larger than 65536 bytes"), std::string::npos);
  overrides_["betrace.admin.token-file"] = folder_.path();
  EXPECT_NE(mistake().find("Is a directory"), std::string::npos);
}

TEST_F(ConfigSecret, AClientCommandGoesOnWithoutTheFile) {
  lenient_ = true;
  overrides_["vault.token-file"] = folder_.file("none");
  const Config config = load();
  EXPECT_TRUE(config.secret("vault.token").empty());
  ASSERT_GE(config.warnings().size(), 1u);
  EXPECT_NE(config.warnings()[0].find("No such file"), std::string::npos);
}

TEST_F(ConfigSecret, TheBetterSourceWinsOverValueAndFile) {
  const auto path = secret_file("from-file", 0600);
  write("vault.token=from-properties\n");
  environment_["VAULT_TOKEN_FILE"] = path;
  EXPECT_EQ(text(load(), "vault.token"), "from-file");
  overrides_["vault.token"] = "from-override";
  EXPECT_EQ(text(load(), "vault.token"), "from-override");
}

TEST_F(ConfigSecret, ValueAndFileInOneSourceAreSaid) {
  overrides_ = {{"vault.token", "v"}, {"vault.token-file", secret_file("f", 0600)}};
  const Config config = load();
  EXPECT_EQ(text(config, "vault.token"), "v");
  EXPECT_EQ(config.warnings()[0],
            "vault.token and vault.token-file are both set (-D, -D): the file is ignored");
}

TEST_F(ConfigSecret, BlanksOfAValueStay) {
  write("pkcs11.pin=12 34 \n");
  EXPECT_EQ(text(load(), "pkcs11.pin"), "12 34 ");
}

TEST_F(ConfigSecret, MayComeFromAnExpressionAndServeAnotherKey) {
  write("vault.token=${MY_TOKEN}\nacme.token=${vault.token}\n");
  environment_["MY_TOKEN"] = "hvs.1";
  const Config config = load();
  EXPECT_EQ(text(config, "vault.token"), "hvs.1");
  EXPECT_EQ(config.settings()("acme.token"), "hvs.1");
}

// --- what `betrace-kms config` prints -----------------------------------------------------------

class RenderedConfig : public ConfigTest {};

TEST_F(RenderedConfig, HasEveryValueWithItsSource) {
  write(
      "betrace.kms.provider=aws\nquarkus.log.category.\"com.betrace.kms\".level=DEBUG\n"
      "betrace.otlp.forward-endpoint=http://localhost:1\n");
  const std::string text = without_folder(render_config(load(), false));
  EXPECT_TRUE(text.starts_with("# configuration file: application.properties\n")) << text;
  const auto has = [&](const std::string& start, const std::string& end) {
    const auto at = ("\n" + text).find("\n" + start);
    if (at == std::string::npos) return false;
    const auto line = text.substr(at, text.find('\n', at) - at);
    return line.ends_with(end);
  };
  EXPECT_TRUE(has("betrace.kms.provider=aws ", "  # application.properties:1")) << text;
  EXPECT_TRUE(has("kms.cache.max-size=1000 ", "  # default")) << text;
  EXPECT_TRUE(
      has("quarkus.log.category.\"com.betrace.kms\".level=DEBUG ", "  # application.properties:2"));
  EXPECT_EQ(text.find("vault.token"), std::string::npos);
}

TEST_F(RenderedConfig, SaysWhenThereIsNoFile) {
  EXPECT_TRUE(render_config(load(), false).starts_with("# no configuration file\n"));
}

TEST_F(RenderedConfig, AsJsonIsJsonWithEveryKey) {
  write("betrace.kms.provider=aws\nkms.unknown=1\n");
  overrides_["quarkus.log.file.path"] = "/var/log/\"x\"\\ä";
  JsonDocument document;
  const auto parsed = document.parse(render_config(load(), true));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const auto& root = document.root().as_object();
  EXPECT_EQ(root.at("file").as_string(), file_);
  EXPECT_EQ(root.at("warnings").as_array().size(), 1u);
  std::map<std::string, boost::json::object> entries;
  for (const auto& each : root.at("entries").as_array()) {
    entries[std::string(each.as_object().at("key").as_string())] = each.as_object();
  }
  EXPECT_EQ(entries.at("betrace.kms.provider").at("value").as_string(), "aws");
  EXPECT_EQ(entries.at("quarkus.log.file.path").at("value").as_string(), "/var/log/\"x\"\\ä");
  EXPECT_TRUE(entries.at("vault.token").at("value").is_null());
  EXPECT_TRUE(entries.at("vault.token").at("source").is_null());
}

}  // namespace
}  // namespace betrace::kms
