#include "providers/pkcs11.h"

#include <array>
#include <latch>
#include <mutex>
#include <set>

#include "base/encoding.h"
#include "unit/providers/pkcs11_world.h"

namespace betrace::kms {
namespace {

TEST_F(Pkcs11Test, NamesTokenAndKeyAsRfc7512Does) {
  const auto made = provider()->generate_data_key(call, context);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->wrapped.master_key_id, "pkcs11:token=fake;object=master");
  EXPECT_EQ(made->wrapped.blob.size(), 9U + 12 + 32 + 16);
}

std::string nonce_of(const Wrapping& wrapped) {
  return std::string(wrapped.blob.begin() + 9, wrapped.blob.begin() + 9 + 12);
}

// Each key by a draw of its own, nonces by sixteen.
TEST_F(Pkcs11Test, KeysAndNoncesAreRandomBytesOfTheToken) {
  const auto its = provider();
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));  // two nonces: of the trial, and its own
  const int before = hsm.calls("C_GenerateRandom");
  for (int i = 0; i < 14; ++i) ASSERT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(hsm.calls("C_GenerateRandom"), before + 14);
  ASSERT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(hsm.calls("C_GenerateRandom"), before + 14 + 2);
}

TEST_F(Pkcs11Test, NoNonceIsUsedTwice) {
  const auto its = provider();
  std::mutex mutex;
  std::set<std::string> seen;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 50; ++n) {
          const auto wrapped = its->encrypt(call, Bytes(32), context);
          const std::lock_guard lock(mutex);
          if (wrapped) seen.insert(nonce_of(*wrapped));
        }
      });
    }
  }
  EXPECT_EQ(seen.size(), 8 * 50);
}

// Else two machines that one daemon's memory goes on in would use the same ones.
TEST_F(Pkcs11Test, NoncesOfALogInThatIsLostAreNotUsed) {
  const auto its = provider();
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  const int before = hsm.calls("C_GenerateRandom");
  hsm.answer("C_EncryptInit", CKR_SESSION_HANDLE_INVALID, 1);
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  EXPECT_EQ(hsm.calls("C_Login"), 2);
  EXPECT_EQ(hsm.calls("C_GenerateRandom"), before + 1);
}

TEST_F(Pkcs11Test, ADrawThatFailsIsNoNonce) {
  const auto its = provider();
  for (int i = 0; i < 15; ++i) ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  hsm.answer("C_GenerateRandom", CKR_GENERAL_ERROR, 1);
  EXPECT_EQ(its->encrypt(call, Bytes(32), context).error().type, "CKR_GENERAL_ERROR");
  const int before = hsm.calls("C_GenerateRandom");
  EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
  EXPECT_EQ(hsm.calls("C_GenerateRandom"), before + 1);
}

TEST_F(Pkcs11Test, ATokenWithoutAGeneratorLeavesThemToTheOperatingSystem) {
  hsm.answer("C_GenerateRandom", CKR_RANDOM_NO_RNG, 100);
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
    hsm.reset();
    hsm.answer("C_EncryptInit", code, 1);
    const auto wrapped = provider()->encrypt(call, Bytes(32), context);
    ASSERT_FALSE(wrapped) << name;
    EXPECT_EQ(to_string(wrapped.error().code), to_string(expected)) << name;
    EXPECT_EQ(wrapped.error().message, "Failed to encrypt: " + name);
  }
}

TEST_F(Pkcs11Test, WhatTheTokenHasLostIsHadAnewOnce) {
  for (const CK_RV code :
       {CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED, CKR_DEVICE_REMOVED, CKR_DEVICE_ERROR,
        CKR_TOKEN_NOT_PRESENT, CKR_USER_NOT_LOGGED_IN, CKR_KEY_HANDLE_INVALID,
        CKR_OBJECT_HANDLE_INVALID, CKR_OPERATION_ACTIVE}) {
    hsm.reset();
    const auto its = provider();
    const auto wrapped = its->encrypt(call, Bytes(32), context);
    ASSERT_TRUE(wrapped);
    hsm.answer("C_DecryptInit", code, 1);
    EXPECT_TRUE(its->decrypt(call, *wrapped, context)) << code;
    EXPECT_EQ(hsm.calls("C_Login"), 2);
    hsm.answer("C_DecryptInit", code, 2);
    EXPECT_EQ(its->decrypt(call, *wrapped, context).error().code, ErrorCode::kms_unavailable);
    EXPECT_TRUE(its->decrypt(call, *wrapped, context)) << code;
  }
}

TEST_F(Pkcs11Test, AConnectionThatIsGoneInAModulesOwnWordsIsMadeAnewAtTheNextCall) {
  const auto its = provider();
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  for (const CK_RV code : std::initializer_list<CK_RV>{CKR_GENERAL_ERROR, 0x80000042UL}) {
    const int log_ins = hsm.calls("C_Login");
    hsm.answer("C_EncryptInit", code, 1);
    EXPECT_FALSE(its->encrypt(call, Bytes(32), context));
    EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
    EXPECT_EQ(hsm.calls("C_Login"), log_ins + 1);
  }
}

TEST_F(Pkcs11Test, WhatDecryptRefusesIsTheCiphertextsFaultOnlyWhileTheTokenOpensItsOwn) {
  using enum ErrorCode;
  const auto its = provider();
  const auto wrapped = *its->encrypt(call, Bytes(32), context);
  const auto refused = its->decrypt(call, wrapped, {});
  EXPECT_EQ(refused.error().code, invalid_ciphertext);
  EXPECT_TRUE(refused.error().message.starts_with(context_mismatch_message));

  // An outage.
  for (const CK_RV code : std::initializer_list<CK_RV>{CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED}) {
    hsm.answer("C_Decrypt", code, 100);
    EXPECT_EQ(its->decrypt(call, wrapped, context).error().code, kms_unavailable);
    hsm.answer("C_DecryptInit", code, 1);
    EXPECT_EQ(its->decrypt(call, wrapped, context).error().code, kms_unavailable);
    hsm.answer("C_Decrypt", code, 0);
  }
  // A moment's.
  hsm.answer("C_Decrypt", CKR_GENERAL_ERROR, 1);
  EXPECT_TRUE(its->decrypt(call, wrapped, context));
  // One that goes on until the token is gone.
  hsm.answer("C_Decrypt", CKR_DEVICE_ERROR, 1);
  hsm.token.copies = 0;
  EXPECT_EQ(its->decrypt(call, wrapped, context).error().code, kms_unavailable);
}

TEST_F(Pkcs11Test, AlteredRowsCostNoNonces) {
  const auto its = provider();
  const auto wrapped = *its->encrypt(call, Bytes(32), context);
  const int sealed = hsm.calls("C_Encrypt");
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(its->decrypt(call, wrapped, {}));
  EXPECT_EQ(hsm.calls("C_Encrypt"), sealed);
}

// Which of the forms a module takes is not known before it is tried.
TEST_F(Pkcs11Test, BothFormsOfTheGcmParametersAreSpoken) {
  struct ShortForm {
    void* iv;
    CK_ULONG iv_bytes;
    void* aad;
    CK_ULONG aad_bytes, tag_bits;
  };
  for (const auto size : {sizeof(CK_GCM_PARAMS), sizeof(ShortForm)}) {
    hsm.reset();
    hsm.token.params_bytes = size;
    const auto wrapped = provider()->encrypt(call, Bytes(32), context);
    ASSERT_TRUE(wrapped) << wrapped.error().message;
    // A daemon that has only opened yet.
    const auto its = provider();
    EXPECT_TRUE(its->decrypt(call, *wrapped, context));
    EXPECT_EQ(its->decrypt(call, *wrapped, {}).error().code, ErrorCode::invalid_ciphertext);
    const int inits = hsm.calls("C_EncryptInit");
    EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
    EXPECT_EQ(hsm.calls("C_EncryptInit"), inits + 1) << "the form is kept";
  }
  hsm.reset();
  hsm.token.params_bytes = 1;
  const auto refused = provider()->encrypt(call, Bytes(32), context);
  EXPECT_EQ(refused.error().code, ErrorCode::kms_key_disabled);
  EXPECT_EQ(refused.error().type, "CKR_MECHANISM_PARAM_INVALID");
}

TEST_F(Pkcs11Test, ATokenThatMakesTheNonceItselfIsAskedForIt) {
  for (const bool appends : {false, true}) {
    hsm.reset();
    (appends ? hsm.token.appends_nonces : hsm.token.makes_nonces) = true;
    const auto its = provider();
    const auto one = its->encrypt(call, Bytes(32), context);
    ASSERT_TRUE(one) << one.error().message;
    EXPECT_EQ(one->blob.size(), 9U + 12 + 32 + 16 + (appends ? 16 : 0));
    const auto two = its->encrypt(call, Bytes(32), context);
    EXPECT_NE(one->blob, two->blob);
    const auto other = provider();
    for (const auto& each : {*one, *two}) {
      EXPECT_TRUE(other->decrypt(call, each, context));
      EXPECT_EQ(other->decrypt(call, each, {}).error().code, ErrorCode::invalid_ciphertext);
      Wrapping cut = each;
      cut.blob.resize(9 + 12 + 16 + 16);
      EXPECT_EQ(other->decrypt(call, cut, context).error().code, ErrorCode::invalid_ciphertext);
    }
  }
}

TEST_F(Pkcs11Test, NothingIsWrappedUnderANonceOfZeros) {
  hsm.token.makes_nonces = true;
  hsm.token.keeps_nonces = false;
  EXPECT_EQ(provider()->encrypt(call, Bytes(32), context).error().code,
            ErrorCode::kms_key_disabled);
}

TEST_F(Pkcs11Test, ATokenThatBindsNoContextWrapsNothing) {
  hsm.token.binds_contexts = false;
  const auto refused = provider()->generate_data_key(call, context);
  EXPECT_EQ(refused.error().code, ErrorCode::kms_key_disabled);
  EXPECT_EQ(refused.error().message,
            "Failed to generate data key: the token 'fake' binds no context to what it wraps");
}

TEST_F(Pkcs11Test, AKeyThatMayNotDecryptWrapsNothing) {
  hsm.answer("C_DecryptInit", CKR_KEY_FUNCTION_NOT_PERMITTED, 1);
  EXPECT_EQ(provider()->encrypt(call, Bytes(32), context).error().code,
            ErrorCode::kms_access_denied);
}

TEST_F(Pkcs11Test, SettingsNameWhatIsMissingOrWrong) {
  EXPECT_EQ(refusal(), "accepted");
  for (const auto* key : {"pkcs11.module", "pkcs11.token-label", "pkcs11.pin"}) {
    const auto kept = world.settings.extract(std::string(key));
    EXPECT_TRUE(refusal().starts_with(std::string(key) + " is not set")) << refusal();
    world.settings[kept.key()] = kept.mapped();
  }
  world.settings["pkcs11.init-args"] = "others";
  EXPECT_TRUE(refusal().starts_with("pkcs11.init-args='others': the module "));
  world.settings["pkcs11.module"] = "libsofthsm2.so";
  EXPECT_TRUE(refusal().starts_with("pkcs11.module='libsofthsm2.so': accepted is a path"));
}

TEST_F(Pkcs11Test, AFileThatIsNoModuleIsSaidAtTheStart) {
  world.settings["pkcs11.module"] = "/usr/lib/x86_64-linux-gnu/libz.so.1";
  EXPECT_NE(refusal().find("it has no C_GetFunctionList"), std::string::npos) << refusal();
  world.settings["pkcs11.module"] = "/nonexistent/module.so";
  EXPECT_TRUE(refusal().starts_with("pkcs11.module='/nonexistent/module.so': "));
  EXPECT_NE(refusal().find("No such file"), std::string::npos) << refusal();
}

// --- a module that hangs

TEST_F(Pkcs11Test, AModuleThatHangsKeepsNobodyPastItsDeadline) {
  for (const auto* function : {"C_Initialize", "C_GetSlotList", "C_Login", "C_EncryptInit"}) {
    SCOPED_TRACE(function);
    const auto its = provider();
    // The module is initialised anew.
    hsm.answer("C_GetSlotList", CKR_DEVICE_ERROR, 1);
    hsm.hang(function, true);
    // Whoever hangs, and whoever waits for what that one holds.
    for (int i = 0; i < 2; ++i) {
      const auto late = its->encrypt(in(std::chrono::milliseconds(50)), Bytes(32), context);
      ASSERT_FALSE(late);
      EXPECT_EQ(late.error().code, ErrorCode::kms_timeout) << late.error().message;
    }
    hsm.hang(function, false);
    EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
  }
}

// Where callers and threads look for each other instead of sleeping.
TEST_F(Pkcs11Test, AModuleThatHangsAfterManyCallsKeepsNobodyPastItsDeadline) {
  const auto its = provider();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  ask_until_one_hangs(*its);
  hsm.hang("C_EncryptInit", false);
  EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
}

TEST_F(Pkcs11Test, CallsThatHangTakeNoMoreThanSixteenThreads) {
  const auto its = provider();
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  const int before = hsm.calls("C_EncryptInit");
  hsm.hang("C_EncryptInit", true);
  std::string last;
  const auto ask = [&] {
    last = its->encrypt(in(std::chrono::milliseconds(5)), Bytes(32), context).error().message;
  };
  while (hsm.calls("C_EncryptInit") < before + 16) ask();
  for (int i = 0; i < 4; ++i) ask();
  EXPECT_EQ(last,
            "the provider 'pkcs11' did not answer in time; 16 of 16 calls to it have not ended");
  EXPECT_EQ(hsm.calls("C_EncryptInit"), before + 16);
  hsm.hang("C_EncryptInit", false);
  EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
}

TEST_F(Pkcs11Test, AProviderWhoseCallHangsCanBeLeft) {
  auto its = provider();
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  ask_until_one_hangs(*its);
  its.reset();
  EXPECT_EQ(hsm.calls("C_CloseSession"), 0);
  // What it left behind goes when the call ends.
  hsm.hang("C_EncryptInit", false);
  until_called("C_CloseSession", 1);
}

TEST_F(Pkcs11Test, ATokenOfTwoSessionsServesSixtyFourCallers) {
  hsm.token.sessions_max = 2;
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
  EXPECT_LE(hsm.calls("C_OpenSession"), 2);
  EXPECT_EQ(hsm.calls("C_Login"), 1);
}

}  // namespace
}  // namespace betrace::kms
