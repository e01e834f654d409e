#include "providers/azure.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "providers/azure_blob.h"
#include "providers/azure_errors.h"
#include "unit/providers/azure_world.h"

namespace betrace::kms {
namespace {

const CallContext call = CallContext::system("test");
const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "acme"}};

struct AzureProviderTest : testing::Test, AzureWorld {
  static AzureBlob blob_of(const Wrapping& wrapping) {
    return *read_azure_blob(std::span(wrapping.blob).subspan(9));
  }
};

TEST_F(AzureProviderTest, WrapsAKeyOfEachWrappingAndNeverShowsTheVaultTheDataKey) {
  const auto its = provider();
  const auto one = its->generate_data_key(call, context);
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->wrapped.master_key_id, "https://acme.vault.azure.net/keys/master");
  const auto asked = azure.seen().back();
  EXPECT_EQ(asked.url, "https://acme.vault.azure.net/keys/master/wrapkey?api-version=7.4");
  EXPECT_EQ(asked.field("alg"), "RSA-OAEP-256");
  EXPECT_EQ(base64url_decode(asked.field("value"))->size(), 32U);
  EXPECT_NE(asked.field("value"), base64url_encode(one->plaintext.expose()));
  ASSERT_TRUE(its->generate_data_key(call, context));
  EXPECT_NE(asked.field("value"), azure.seen().back().field("value"));
}

TEST_F(AzureProviderTest, WhatAVersionWrappedIsUnwrappedByItHoweverManyCameLater) {
  const auto its = provider();
  const auto before = its->generate_data_key(call, context);
  azure.create_key("master");
  const auto after = its->generate_data_key(call, context);
  EXPECT_NE(blob_of(before->wrapped).version, blob_of(after->wrapped).version);
  EXPECT_TRUE(its->decrypt(call, before->wrapped, context));
  EXPECT_TRUE(azure.seen().back().path.contains("/" + blob_of(before->wrapped).version + "/"));
  EXPECT_TRUE(its->decrypt(call, after->wrapped, context));
}

TEST_F(AzureProviderTest, ASymmetricKeyOfAManagedHsmWrapsByAesKeyWrap) {
  azure.create_key("hsm", "oct-HSM");
  settings["azure.keyvault.key-name"] = "hsm";
  const auto its = provider();
  for (int i = 0; i < 3; ++i) {
    const auto made = its->generate_data_key(call, context);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(blob_of(made->wrapped).algorithm, AzureAlgorithm::a256kw);
    EXPECT_TRUE(its->decrypt(call, made->wrapped, context));
  }
  EXPECT_EQ(azure.count("wrapkey"), 1U + 3 + 3) << "RSA was tried once";
}

TEST_F(AzureProviderTest, AVersionThatIsGoneIsTheRowsFaultWhileTheKeyIsThere) {
  const auto its = provider();
  const auto made = its->generate_data_key(call, context);
  azure.purge_key("master");
  EXPECT_EQ(its->decrypt(call, made->wrapped, context).error().code, ErrorCode::kms_key_disabled);
  azure.create_key("master");
  EXPECT_EQ(its->decrypt(call, made->wrapped, context).error().code, ErrorCode::wrapped_elsewhere);
}

TEST_F(AzureProviderTest, DescribesStateKindAndDeletion) {
  const auto its = provider();
  EXPECT_TRUE(its->describe_key(call)->usable);
  azure.enable("master", false);
  EXPECT_EQ(its->describe_key(call)->state, "Disabled");
  azure.delete_key("master");
  const auto deleted = its->describe_key(call);
  ASSERT_TRUE(deleted);
  EXPECT_EQ(deleted->state, "Deleted");
  EXPECT_EQ(deleted->deletion_at, parse_utc_time("2026-12-02T10:15:00Z"));
  azure.create_key("curve", "EC");
  settings["azure.keyvault.key-name"] = "curve";
  EXPECT_FALSE(provider()->describe_key(call)->usable);
  settings["azure.keyvault.key-name"] = "nowhere";
  EXPECT_EQ(provider()->describe_key(call).error().code, ErrorCode::kms_key_disabled);
}

TEST_F(AzureProviderTest, TellsWhyAKeyCannotBeAMasterKeyNow) {
  const auto its = provider();
  const auto now = std::chrono::floor<std::chrono::seconds>(clock.now()).time_since_epoch().count();
  const auto said = [&] {
    const auto described = its->describe_key(call);
    return fmt::format("{}{}", described->usable ? "" : "not usable: ", described->state);
  };
  azure.set_life("master", now - 1, now + 1);
  EXPECT_EQ(said(), "Enabled");
  clock.advance(std::chrono::seconds(1));
  EXPECT_EQ(said(), "not usable: Expired");
  azure.set_life("master", now + 60, std::nullopt);
  EXPECT_EQ(said(), "not usable: NotYetValid");
  azure.set_life("master", std::nullopt, std::nullopt);

  azure.set_more("master", R"(,"key_ops":["sign","wrapKey","unwrapKey"])");
  EXPECT_EQ(said(), "Enabled");
  azure.set_more("master", R"(,"key_ops":["sign","wrapKey"])");
  EXPECT_EQ(said(), "not usable: Enabled, without unwrapKey among its permitted operations");
  azure.set_more("master", fmt::format(R"(,"n":"{}")", base64url_encode(Bytes(256, 1))));
  EXPECT_EQ(said(), "Enabled");
  azure.set_more("master", fmt::format(R"(,"n":"{}")", base64url_encode(Bytes(128, 1))));
  EXPECT_EQ(said(), "not usable: Enabled, of 1024 bits; an RSA key has 2048 or more");
}

TEST_F(AzureProviderTest, WhatAnExpiredKeyWrappedOpensStill) {
  const auto its = provider();
  const auto made = its->generate_data_key(call, context);
  azure.set_life("master", std::nullopt, 1);
  EXPECT_FALSE(its->describe_key(call)->usable);
  EXPECT_TRUE(its->decrypt(call, made->wrapped, context));
}

TEST_F(AzureProviderTest, CapitalsInAddressAndNamesMakeNoOtherKey) {
  const auto made = provider()->generate_data_key(call, context);
  settings["azure.keyvault.uri"] = "https://Acme.Vault.Azure.Net:443/";
  settings["azure.keyvault.key-name"] = "Master";
  azure.name_itself("https://ACME.vault.azure.net");
  const auto its = provider();
  EXPECT_TRUE(its->decrypt(call, made->wrapped, context));
  const auto later = its->generate_data_key(call, context);
  ASSERT_TRUE(later) << later.error().message;
  EXPECT_EQ(later->wrapped.master_key_id, made->wrapped.master_key_id);
  EXPECT_TRUE(its->decrypt(call, later->wrapped, context));
  azure.name_itself("https://acme2.vault.azure.net");
  EXPECT_EQ(its->generate_data_key(call, context).error().code, ErrorCode::kms_unavailable);
}

TEST_F(AzureProviderTest, OneWrappingIsOneCallOfTheVault) {
  const auto its = provider();
  const auto made = its->generate_data_key(call, context);
  const auto calls = [&](auto verb) {
    const auto before = azure.seen().size();
    EXPECT_TRUE(verb());
    return azure.seen().size() - before;
  };
  EXPECT_EQ(calls([&] { return its->generate_data_key(call, context).has_value(); }), 1U);
  EXPECT_EQ(calls([&] { return its->encrypt(call, Bytes(9), context).has_value(); }), 1U);
  EXPECT_EQ(calls([&] { return its->decrypt(call, made->wrapped, context).has_value(); }), 1U);
  EXPECT_EQ(calls([&] { return its->describe_key(call).has_value(); }), 1U);
}

TEST(AzureBlob, IsReadAsItWasWrittenAndNotWhenCut) {
  const Bytes kek(256, 1), nonce(12, 2), sealed(48, 3);
  const auto bytes = write_azure_blob({.algorithm = AzureAlgorithm::a256kw,
                                       .version = "0123456789abcdef",
                                       .kek = kek,
                                       .nonce = nonce,
                                       .sealed = sealed});
  const auto read = read_azure_blob(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->algorithm, AzureAlgorithm::a256kw);
  EXPECT_EQ(read->version, "0123456789abcdef");
  EXPECT_TRUE(std::ranges::equal(read->kek, kek));
  EXPECT_TRUE(std::ranges::equal(read->nonce, nonce));
  EXPECT_TRUE(std::ranges::equal(read->sealed, sealed));
  for (std::size_t size = 0; size < bytes.size() - 48 + 17; ++size) {
    EXPECT_FALSE(read_azure_blob(std::span(bytes).first(size))) << size;
  }
}

TEST(AzureErrors, AreToldApartByCodeAndKeepAzuresWords) {
  using enum ErrorCode;
  struct Said {
    int http;
    std::string code, inner, words;
    ErrorCode expected;
  };
  for (const auto& [http, code, inner, words, expected] : std::initializer_list<Said>{
           {400, "BadParameter", "", "alg is required", invalid_argument},
           {401, "Unauthorized", "", "AKV10032: Invalid issuer.", kms_access_denied},
           {403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized", kms_access_denied},
           {403, "Forbidden", "ForbiddenByFirewall", "not an authorized IP", kms_access_denied},
           {403, "Forbidden", "AccessDenied", "no wrapKey permission on key vault 'a disabled key'",
            kms_access_denied},
           {403, "Forbidden", "ForbiddenByConnection",
            "Public network access is disabled and request is not from a trusted service",
            kms_access_denied},
           {403, "Forbidden", "", "Caller of app expired-things is unknown", kms_access_denied},
           {403, "Forbidden", "KeyOperationForbidden", "Operation wrapKey is not permitted",
            kms_key_disabled},
           {403, "Forbidden", "", "Operation wrapKey is not permitted on this key.",
            kms_key_disabled},
           {403, "Forbidden", "KeyDisabled", "not allowed", kms_key_disabled},
           {403, "Forbidden", "", "not allowed on a disabled key.", kms_key_disabled},
           {403, "Forbidden", "", "not allowed on an expired key.", kms_key_disabled},
           {404, "KeyNotFound", "", "was not found", kms_key_disabled},
           {409, "Conflict", "ObjectIsDeletedButRecoverable", "is deleted", kms_key_disabled},
           {429, "Throttled", "", "too many requests", kms_unavailable},
           {500, "InternalError", "", "internal", kms_unavailable},
           {503, "", "", "", kms_unavailable}}) {
    HttpAnswer answer{.status = http};
    answer.body = WipedString(
        fmt::format(R"({{"error":{{"code":"{}","message":"{}","innererror":{{"code":"{}"}}}}}})",
                    code, words, inner));
    const auto error = classify_azure_error(answer, "encrypt", SystemTime());
    EXPECT_EQ(to_string(error.code), to_string(expected)) << http << " " << inner;
    EXPECT_NE(error.message.find(words), std::string::npos) << error.message;
    EXPECT_EQ(error.throttled, http == 429);
  }
}

TEST(AzureErrors, AreOneLineOfReadableLength) {
  HttpAnswer answer{.status = 403};
  answer.body = WipedString(R"({"error":{"code":"Forbidden","message":"Caller is not authorized.)"
                            R"(\r\nCaller: appid=a;oid=o\r\nVault: v","innererror":)"
                            R"({"code":"ForbiddenByRbac"}}})");
  const auto error = classify_azure_error(answer, "encrypt", SystemTime());
  EXPECT_EQ(error.message,
            "Failed to encrypt: Caller is not authorized.  Caller: appid=a;oid=o  Vault: v (HTTP "
            "403 Forbidden, ForbiddenByRbac)");
  EXPECT_EQ(error.type, "ForbiddenByRbac");
  answer.body = WipedString(R"({"error":{"message":")") + WipedString(60'000, 'x') + R"("}})";
  EXPECT_LT(classify_azure_error(answer, "encrypt", SystemTime()).message.size(), 5000U);
}

}  // namespace
}  // namespace betrace::kms
