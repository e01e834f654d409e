#include "providers/catalog.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "provider_world.h"
#include "support/fake_provider.h"
#include "temporary_folder.h"

namespace betrace::kms {
namespace {

Result<std::unique_ptr<Provider>> make(std::string_view name) {
  ProviderWorld world;
  const TemporaryFolder folder;
  world.data_dir = folder.path();
  return make_provider(name, world.environment());
}

ProviderFactory fake(std::string name) {
  return [name](const Settings&) -> Result<std::unique_ptr<Provider>> {
    return std::make_unique<FakeProvider>(name);
  };
}

TEST(Catalogue, NamesTheBuiltInProvidersInTheManualsOrder) {
  auto names = provider_names();
  ASSERT_GE(names.size(), 6u);
  names.resize(6);
  EXPECT_EQ(names, (std::vector<std::string>{"local", "aws", "vault", "gcp", "azure", "pkcs11"}));
}

TEST(Catalogue, MakesAProviderWhateverTheCaseOfItsName) {
  for (const char* name : {"local", "LOCAL", "Local"}) {
    const auto provider = make(name);
    ASSERT_TRUE(provider) << provider.error().message;
    EXPECT_EQ((*provider)->name(), "local");
  }
}

TEST(Catalogue, AnUnknownNameIsAnsweredWithTheSupportedOnes) {
  for (const char* name : {"x", "", "loca", "local "}) {
    const auto provider = make(name);
    ASSERT_FALSE(provider);
    EXPECT_EQ(provider.error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(
        provider.error().message.starts_with("Unknown KMS provider: '" + std::string(name) +
                                             "'. Supported: local, aws, vault, gcp, azure, pkcs11"))
        << provider.error().message;
  }
}

TEST(Catalogue, AProviderOfTheUsersOwnIsMadeWithItsSettings) {
  std::optional<std::string> seen;
  ASSERT_TRUE(
      register_provider("Mine", [&](const Settings& settings) -> Result<std::unique_ptr<Provider>> {
        seen = settings("mine.key");
        return std::make_unique<FakeProvider>("mine");
      }));
  ProviderWorld world;
  world.settings["mine.key"] = "value";
  const auto provider = make_provider("MINE", world.environment());
  ASSERT_TRUE(provider);
  EXPECT_EQ((*provider)->name(), "mine");
  EXPECT_EQ(seen, "value");
  const auto names = provider_names();
  EXPECT_TRUE(std::ranges::find(names, "mine") != names.end());
  EXPECT_NE(make("nobody").error().message.find("pkcs11, mine"), std::string::npos);
}

TEST(Catalogue, ANameThatExistsIsNotRegisteredAgain) {
  for (const char* name : {"aws", "AWS", "vault"}) {
    EXPECT_EQ(register_provider(name, fake("aws")).error().code, ErrorCode::already_exists);
  }
  ASSERT_TRUE(register_provider("twice", fake("twice")));
  EXPECT_EQ(register_provider("Twice", fake("twice")).error().code, ErrorCode::already_exists);
}

TEST(Catalogue, ANameOrFactoryThatCannotServeIsRefused) {
  for (const char* name : {"", "two words", "a/b", "naïve", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_EQ(register_provider(name, fake("x")).error().code, ErrorCode::invalid_argument) << name;
  }
  EXPECT_EQ(register_provider("empty", {}).error().code, ErrorCode::invalid_argument);
}

TEST(Catalogue, AFactoryThatAnswersNothingIsAnError) {
  ASSERT_TRUE(register_provider(
      "nothing", [](const Settings&) -> Result<std::unique_ptr<Provider>> { return nullptr; }));
  EXPECT_EQ(make("nothing").error().code, ErrorCode::internal);
}

}  // namespace
}  // namespace betrace::kms
