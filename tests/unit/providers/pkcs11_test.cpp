// The pkcs11 provider over a module whose answers are ordered; over real ones it is in the contract
// suite and the end-to-end tests.
#include "providers/pkcs11.h"

#include <latch>
#include <map>
#include <thread>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <p11-kit/pkcs11.h>

#include "unit/providers/provider_world.h"

namespace betrace::kms {
namespace {

const CallContext call = CallContext::system("test");
const EncryptionContext context{{"tenantId", "acme"}};

struct Pkcs11Test : testing::Test {
  ProviderWorld world;
  void (*answer)(const char*, CK_RV, int) = nullptr;
  int (*calls)(const char*) = nullptr;
  void (*reset)(CK_ULONG, CK_ULONG) = nullptr;

  Pkcs11Test() {
    auto* const library = ::dlopen(BETRACE_FAKE_PKCS11, RTLD_NOW);
    answer = reinterpret_cast<decltype(answer)>(::dlsym(library, "fake_pkcs11_answer"));
    calls = reinterpret_cast<decltype(calls)>(::dlsym(library, "fake_pkcs11_calls"));
    reset = reinterpret_cast<decltype(reset)>(::dlsym(library, "fake_pkcs11_reset"));
    reset(0, 1);
    world.settings = {{"pkcs11.module", BETRACE_FAKE_PKCS11},
                      {"pkcs11.token-label", "fake"},
                      {"pkcs11.key-label", "master"},
                      {"pkcs11.pin", "right"}};
  }
  std::unique_ptr<Provider> provider() {
    return make_provider("pkcs11", world.environment()).value();
  }
  std::string refusal() {
    const auto made = make_provider("pkcs11", world.environment());
    return made ? "accepted" : made.error().message;
  }
};

TEST_F(Pkcs11Test, NamesTokenAndKeyAsRfc7512Does) {
  const auto made = provider()->generate_data_key(call, context);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->wrapped.master_key_id, "pkcs11:token=fake;object=master");
  EXPECT_EQ(made->wrapped.blob.size(), 9U + 12 + 32 + 16);
}

TEST_F(Pkcs11Test, KeysAndNoncesAreRandomBytesOfTheToken) {
  ASSERT_TRUE(provider()->generate_data_key(call, context));
  EXPECT_EQ(calls("C_GenerateRandom"), 2);
}

TEST_F(Pkcs11Test, ATokenWithoutAGeneratorLeavesThemToTheOperatingSystem) {
  answer("C_GenerateRandom", CKR_RANDOM_NO_RNG, 100);
  const auto its = provider();
  EXPECT_NE(its->encrypt(call, Bytes(32), context)->blob,
            its->encrypt(call, Bytes(32), context)->blob);
}

TEST_F(Pkcs11Test, EachAnswerHasItsCodeAndItsName) {
  using enum ErrorCode;
  for (const auto& [code, expected, name] :
       std::initializer_list<std::tuple<CK_RV, ErrorCode, std::string>>{
           {CKR_KEY_FUNCTION_NOT_PERMITTED, kms_access_denied, "CKR_KEY_FUNCTION_NOT_PERMITTED"},
           {CKR_KEY_TYPE_INCONSISTENT, kms_key_disabled, "CKR_KEY_TYPE_INCONSISTENT"},
           {CKR_MECHANISM_INVALID, kms_key_disabled, "CKR_MECHANISM_INVALID"},
           {CKR_DATA_LEN_RANGE, invalid_argument, "CKR_DATA_LEN_RANGE"},
           {CKR_GENERAL_ERROR, kms_unavailable, "CKR_GENERAL_ERROR"},
           {CKR_DEVICE_MEMORY, kms_unavailable, "CKR_DEVICE_MEMORY"},
           {CKR_HOST_MEMORY, kms_unavailable, "CKR_HOST_MEMORY"},
           {0x80000042UL, kms_unavailable, "CKR 0x80000042"}}) {
    reset(0, 1);
    answer("C_EncryptInit", code, 1);
    const auto wrapped = provider()->encrypt(call, Bytes(32), context);
    ASSERT_FALSE(wrapped) << name;
    EXPECT_EQ(to_string(wrapped.error().code), to_string(expected)) << name;
    EXPECT_EQ(wrapped.error().message, "Failed to encrypt: " + name);
  }
}

TEST_F(Pkcs11Test, WhatTheTokenHasLostIsHadAnewOnce) {
  for (const CK_RV code : {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_DEVICE_REMOVED,
                           CKR_DEVICE_ERROR, CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN,
                           CKR_KEY_HANDLE_INVALID, CKR_OBJECT_HANDLE_INVALID}) {
    reset(0, 1);
    const auto its = provider();
    const auto wrapped = its->encrypt(call, Bytes(32), context);
    ASSERT_TRUE(wrapped);
    answer("C_DecryptInit", code, 1);
    EXPECT_TRUE(its->decrypt(call, *wrapped, context)) << code;
    EXPECT_EQ(calls("C_Login"), 2);
    answer("C_DecryptInit", code, 2);
    EXPECT_EQ(its->decrypt(call, *wrapped, context).error().code, ErrorCode::kms_unavailable);
    EXPECT_TRUE(its->decrypt(call, *wrapped, context)) << code;
  }
}

TEST_F(Pkcs11Test, APinThatWasRefusedIsNeverTriedAgain) {
  world.settings["pkcs11.pin"] = "wrong-canary";
  const auto its = provider();
  for (int i = 0; i < 10; ++i) {
    const auto described = its->describe_key(call);
    ASSERT_FALSE(described);
    EXPECT_EQ(described.error().code, ErrorCode::kms_access_denied);
    EXPECT_NE(described.error().message.find("CKR_PIN_INCORRECT; pkcs11.pin is not tried again"),
              std::string::npos);
    EXPECT_EQ(described.error().message.find("canary"), std::string::npos);
  }
  EXPECT_EQ(calls("C_Login"), 1);
}

TEST_F(Pkcs11Test, AGeneralErrorOfDecryptIsAWrongTagOnlyWhileTheTokenWorks) {
  const auto its = provider();
  const auto wrapped = *its->encrypt(call, Bytes(32), context);
  EXPECT_EQ(its->decrypt(call, wrapped, {}).error().code, ErrorCode::invalid_ciphertext);
  answer("C_Decrypt", CKR_GENERAL_ERROR, 1);
  answer("C_EncryptInit", CKR_GENERAL_ERROR, 1);
  EXPECT_EQ(its->decrypt(call, wrapped, context).error().code, ErrorCode::kms_unavailable);
  answer("C_DecryptInit", CKR_GENERAL_ERROR, 1);
  EXPECT_EQ(its->decrypt(call, wrapped, context).error().code, ErrorCode::kms_unavailable);
  EXPECT_TRUE(its->decrypt(call, wrapped, context));
}

TEST_F(Pkcs11Test, AKeyThatIsMissingOrThereTwiceIsSaid) {
  reset(0, 0);
  EXPECT_EQ(provider()->describe_key(call).error().message,
            "the token 'fake' has no AES key labelled 'master' (pkcs11.key-label)");
  reset(0, 2);
  const auto twice = provider()->describe_key(call);
  EXPECT_EQ(twice.error().code, ErrorCode::kms_key_disabled);
  EXPECT_NE(twice.error().message.find("more than one AES key"), std::string::npos);
}

TEST_F(Pkcs11Test, ATokenThatIsNotThereIsSaidWithThoseThatAre) {
  world.settings["pkcs11.token-label"] = "other";
  EXPECT_EQ(provider()->describe_key(call).error().message,
            "no token is labelled 'other' (pkcs11.token-label); there are: 'fake'");
}

TEST_F(Pkcs11Test, ATokenOfTwoSessionsServesSixtyFourCallers) {
  reset(2, 1);
  const auto its = provider();
  std::latch ready(64);
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
      threads.emplace_back([&] {
        ready.arrive_and_wait();
        const auto wrapped = its->encrypt(call, Bytes(32), context);
        if (wrapped && its->decrypt(call, *wrapped, context)) ++good;
      });
    }
  }
  EXPECT_EQ(good, 64);
  EXPECT_LE(calls("C_OpenSession"), 2);
  EXPECT_EQ(calls("C_Login"), 1);
}

TEST_F(Pkcs11Test, SettingsNameWhatIsMissingOrWrong) {
  EXPECT_EQ(refusal(), "accepted");
  for (const auto* key : {"pkcs11.module", "pkcs11.token-label", "pkcs11.pin"}) {
    const auto kept = world.settings.extract(std::string(key));
    EXPECT_TRUE(refusal().starts_with(std::string(key) + " is not set")) << refusal();
    world.settings[kept.key()] = kept.mapped();
  }
  world.settings["pkcs11.module"] = "libsofthsm2.so";
  EXPECT_TRUE(refusal().starts_with("pkcs11.module='libsofthsm2.so': accepted is a path"));
}

TEST_F(Pkcs11Test, AFileThatIsNoModuleIsSaidAtTheFirstCall) {
  world.settings["pkcs11.module"] = "/usr/lib/x86_64-linux-gnu/libz.so.1";
  EXPECT_NE(provider()->describe_key(call).error().message.find("it has no C_GetFunctionList"),
            std::string::npos);
  world.settings["pkcs11.module"] = "/nonexistent/module.so";
  const auto described = provider()->describe_key(call);
  EXPECT_EQ(described.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(described.error().message.find("No such file"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
