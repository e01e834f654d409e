#include "providers/vault.h"

#include <gtest/gtest.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "providers/vault_blob.h"
#include "unit/providers/vault_world.h"

namespace betrace::kms {
namespace {

const CallContext call = CallContext::system("test");
const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "acme"}};

struct VaultProviderTest : testing::Test, VaultWorld {
  VaultProviderTest() {
    vault.accept_token("t");
    settings["vault.token"] = "t";
  }
};

TEST_F(VaultProviderTest, AsksTransitWithTheContextAsAssociatedData) {
  const auto made = provider()->generate_data_key(call, context);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->wrapped.master_key_id, "transit/master");
  const auto asked = vault.seen()[1];
  EXPECT_EQ(vault.seen()[0].path, "/v1/auth/token/lookup-self");
  EXPECT_EQ(asked.path, "/v1/transit/datakey/plaintext/master");
  EXPECT_EQ(asked.header("X-Vault-Token"), "t");
  EXPECT_EQ(asked.body, R"({"associated_data":")" +
                            base64_encode(as_bytes(canonical_json(context))) + R"(","bits":256})");
}

TEST_F(VaultProviderTest, TriesOnceWhetherDataKeysAreBoundToTheirContext) {
  const auto its = provider();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(vault.count("transit/datakey"), 5U);
  EXPECT_EQ(vault.count("transit/decrypt"), 2U) << "under another context, and under its own";
  ASSERT_TRUE(its->encrypt(call, Bytes(32, 7), {}));
  EXPECT_EQ(vault.count("transit/decrypt"), 2U) << "where datakey binds, encrypt does";
}

TEST_F(VaultProviderTest, TriesOnceWhetherWhatItWrapsIsBoundToItsContext) {
  const auto its = provider();
  for (const auto& each : {EncryptionContext{}, context, context}) {
    ASSERT_TRUE(its->encrypt(call, Bytes(32, 7), each));
  }
  EXPECT_EQ(vault.count("transit/decrypt"), 2U);
}

TEST_F(VaultProviderTest, AVaultThatIgnoresContextsWrapsNothingUntilItIsUpdated) {
  FakeVault old{clock};
  old.create_key("master");
  old.accept_token("t");
  old.let_all_ignore_context();
  auto to_old = environment();
  const auto its = *make_provider("vault", {.settings = to_old.settings,
                                            .http = old,
                                            .clock = clock,
                                            .environment = {},
                                            .data_dir = ""});
  for (const auto& each : {context, EncryptionContext{}}) {
    const auto made = its->generate_data_key(call, each);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kms_key_disabled);
    EXPECT_NE(made.error().message.find("binds no context"), std::string::npos);
    const auto wrapped = its->encrypt(call, Bytes(32, 7), each);
    ASSERT_FALSE(wrapped);
    EXPECT_EQ(wrapped.error().code, ErrorCode::kms_key_disabled);
  }
  const auto refused = its->encrypt(call, Bytes(32, 7), context);
  const auto advice =
      its->remedies()->advise({.kind = TroubleKind::key_disabled, .error = &refused.error()});
  EXPECT_TRUE(advice.cause.starts_with("This Vault is older than 1.13")) << advice.cause;
  old.let_all_take_context();
  EXPECT_TRUE(its->encrypt(call, Bytes(32, 7), context));
}

TEST_F(VaultProviderTest, WhatCannotBeTriedForAnOutageIsNotWrapped) {
  vault.add_trouble({.path = "transit/decrypt", .status = 503});
  const auto its = provider();
  const auto wrapped = its->encrypt(call, Bytes(32, 7), context);
  ASSERT_FALSE(wrapped);
  EXPECT_EQ(wrapped.error().code, ErrorCode::kms_unavailable);
  EXPECT_TRUE(its->encrypt(call, Bytes(32, 7), context));
}

TEST_F(VaultProviderTest, TwoServersWithAKeyOfOneNameAreToldApartByTheNameOfTheirCluster) {
  settings["vault.namespace"] = "team";
  const auto made = provider()->generate_data_key(call, context);
  settings["vault.cluster"] = "dc2";
  const auto other = provider();
  EXPECT_EQ(other->describe_key(call)->key_id, "dc2:team/transit/master");
  EXPECT_EQ(other->decrypt(call, made->wrapped, context).error().code,
            ErrorCode::wrapped_elsewhere);
}

TEST_F(VaultProviderTest, MakesDataKeysItselfWhereVaultBindsNoContextToThem) {
  vault.let_datakey_ignore_context();
  const auto its = provider();
  for (int i = 0; i < 3; ++i) {
    const auto made = its->generate_data_key(call, context);
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->plaintext.size(), 32U);
    const auto opened = its->decrypt(call, made->wrapped, context);
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_TRUE(*opened == made->plaintext);
    EXPECT_EQ(its->decrypt(call, made->wrapped, {}).error().code, ErrorCode::invalid_ciphertext);
  }
  EXPECT_EQ(vault.count("transit/datakey"), 1U);
  EXPECT_EQ(vault.count("transit/encrypt"), 3U);
  EXPECT_EQ(vault.count("transit/decrypt"), 2U + 2U + 2U * 3U) << "two trials, and the above";
}

TEST_F(VaultProviderTest, WhereItMayNotDecryptItMakesDataKeysByEncryptAndTriesAgain) {
  vault.deny("transit/decrypt/master");
  const auto its = provider();
  EXPECT_TRUE(its->generate_data_key(call, context));
  EXPECT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(vault.count("transit/datakey"), 2U);
  EXPECT_EQ(vault.count("transit/encrypt"), 2U);
}

TEST_F(VaultProviderTest, ANamespaceGoesAlongAndIsPartOfTheMasterKeysName) {
  settings["vault.namespace"] = "/team/kms/";
  settings["vault.transit.mount"] = "transit/";
  const auto made = provider()->generate_data_key(call, context);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->wrapped.master_key_id, "team/kms/transit/master");
  EXPECT_EQ(vault.seen()[1].header("X-Vault-Namespace"), "team/kms");
}

TEST_F(VaultProviderTest, DescribesWhatCannotWrapWithAContext) {
  EXPECT_TRUE(provider()->describe_key(call)->usable);
  vault.create_key("master", "rsa-4096");
  EXPECT_FALSE(provider()->describe_key(call)->usable);
  EXPECT_TRUE(provider()->describe_key(call)->state.starts_with("of type rsa-4096"));
  vault.create_key("master");
  vault.describe_as("master", R"("derived":true)");
  EXPECT_TRUE(provider()->describe_key(call)->state.starts_with("derived"));
  vault.describe_as("master", R"("soft_deleted":true)");
  EXPECT_EQ(provider()->describe_key(call)->state, "soft deleted");
  for (const auto* type : {"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"}) {
    vault.create_key("master", type);
    EXPECT_TRUE(provider()->describe_key(call)->usable) << type;
  }
  vault.create_key("master", "aes128-gcm96");
  EXPECT_FALSE(provider()->describe_key(call)->usable);
  EXPECT_TRUE(
      provider()->describe_key(call)->state.ends_with("weaker than what it would wrap; "
                                                      "aes256-gcm96 is not"));
}

struct Said {
  int status;
  std::string words;
  ErrorCode code;
};

TEST_F(VaultProviderTest, EachStatusHasItsCodeAndKeepsVaultsWords) {
  using enum ErrorCode;
  const auto its = provider();
  const auto wrapped = its->generate_data_key(call, context)->wrapped;
  for (const auto& [status, words, code] : std::initializer_list<Said>{
           {400, "cipher: message authentication failed", invalid_ciphertext},
           {400, "invalid ciphertext: version is too new", invalid_ciphertext},
           {400, "encryption key not found", kms_key_disabled},
           {400, "ciphertext or signature version is disallowed by policy (too old)",
            kms_key_disabled},
           {400, "refusing to use soft-deleted key", kms_key_disabled},
           {400, "'associated_data' provided for non-AEAD cipher suite rsa-2048", kms_key_disabled},
           {400, "missing 'context' for key derivation", kms_key_disabled},
           {400, "invalid ciphertext length", invalid_ciphertext},
           {400, "something new", invalid_argument},
           {401, "", kms_access_denied},
           {403, "1 error occurred: permission denied", kms_access_denied},
           {404, "no handler for route", kms_key_disabled},
           {405, "unsupported operation", invalid_argument},
           {408, "", kms_unavailable},
           {412, "required index state not present", kms_unavailable},
           {429, "rate limit quota exceeded", kms_unavailable},
           {472, "", kms_unavailable},
           {473, "", kms_unavailable},
           {500, "internal error", kms_unavailable},
           {502, "", kms_unavailable},
           {503, "Vault is sealed", kms_unavailable},
           {504, "", kms_unavailable}}) {
    vault.add_trouble({.path = "transit/decrypt",
                       .status = status,
                       .body = words.empty() ? "" : R"({"errors":[")" + words + R"("]})"});
    const auto opened = its->decrypt(call, wrapped, context);
    ASSERT_FALSE(opened) << status;
    EXPECT_EQ(to_string(opened.error().code), to_string(code)) << status << " " << words;
    EXPECT_NE(opened.error().message.find(words), std::string::npos) << opened.error().message;
    EXPECT_EQ(opened.error().throttled, status == 429);
    EXPECT_EQ(opened.error().message.contains(context_mismatch_message),
              words.contains("authentication failed"))
        << opened.error().message;
  }
}

TEST_F(VaultProviderTest, WhatVaultSaysOverSeveralLinesIsOneLine) {
  vault.add_trouble(
      {.path = "transit/keys",
       .status = 403,
       .body = R"({"errors":["1 error occurred:\n\t* permission denied\n\n","and"]})"});
  EXPECT_EQ(provider()->describe_key(call).error().message,
            "Failed to describe key: 1 error occurred: * permission denied; and (HTTP 403)");
}

std::string cause_of(const Provider& its, TroubleKind kind, const std::string& words) {
  const Error error{.message = words};
  return its.remedies()->advise({.kind = kind, .error = &error}).cause;
}

TEST_F(VaultProviderTest, ATokenThatIsNotAcceptedIsToldFromAPolicyThatRefuses) {
  const auto its = provider();
  for (const auto* words : {"Failed to encrypt: permission denied (HTTP 403)",
                            "2 errors occurred: * permission denied * invalid token (HTTP 403)"}) {
    EXPECT_TRUE(cause_of(*its, TroubleKind::access_denied, words)
                    .starts_with("Vault does not accept the service's token"))
        << words;
  }
  EXPECT_TRUE(cause_of(*its, TroubleKind::access_denied,
                       "Failed to encrypt: 1 error occurred: * permission denied (HTTP 403)")
                  .starts_with("The policies of the service's token lack"));
}

TEST_F(VaultProviderTest, AKeyThatWasSoftDeletedIsRestored) {
  const Error error{.message = "Failed to encrypt: refusing to use soft-deleted key (HTTP 400)"};
  const auto advice =
      provider()->remedies()->advise({.kind = TroubleKind::key_disabled, .error = &error});
  EXPECT_EQ(advice.commands.back(),
            "BAO_ADDR=http://localhost:8200 bao write -f "
            "transit/keys/master/soft-delete-restore");
}

TEST_F(VaultProviderTest, ARedirectOfWhoeverStandsBeforeVaultIsSaid) {
  vault.add_trouble({.path = "transit/keys",
                     .status = 301,
                     .headers = {{"location", "https://vault.example.com/v1/x"}},
                     .body = "<html>Moved</html>"});
  const auto described = provider()->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_unavailable);
  EXPECT_NE(described.error().message.find("https://vault.example.com"), std::string::npos);
}

TEST_F(VaultProviderTest, AStandbyThatSendsUsElsewhereIsNotFollowedWithTheToken) {
  vault.add_trouble({.path = "transit/keys",
                     .status = 307,
                     .headers = {{"location", "http://10.0.0.1:8200/v1/transit/keys/master"}}});
  const auto described = provider()->describe_key(call);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, ErrorCode::kms_unavailable);
  EXPECT_NE(described.error().message.find("http://10.0.0.1:8200"), std::string::npos);
}

TEST(VaultBytes, AreVaultsTextAndBackInOneForm) {
  const auto bytes = vault_bytes("vault:v258:AAEC");
  ASSERT_TRUE(bytes);
  EXPECT_EQ(hex_encode(*bytes), "00000102000102");
  EXPECT_EQ(vault_text(*bytes), "vault:v258:AAEC");
  EXPECT_FALSE(vault_text(Bytes{0, 0, 0, 0, 1}));
  EXPECT_FALSE(vault_text(Bytes{0, 0, 0, 1}));
  for (const auto* text :
       {"", "vault:v1", "vault:v1:", "vault:v0:AAEC", "vault:v1:AAE", "vault:v-1:AAEC",
        "vault:v99999999999:AAEC", "local:v1:AAEC", "vault:v1:AAF="}) {
    EXPECT_FALSE(vault_bytes(text)) << text;
  }
}

}  // namespace
}  // namespace betrace::kms
