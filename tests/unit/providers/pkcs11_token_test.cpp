// Modules, tokens, PINs and keys, as the provider meets them.
#include "unit/providers/pkcs11_world.h"

namespace betrace::kms {
namespace {

struct Pkcs11TokenTest : Pkcs11Test {};

TEST_F(Pkcs11TokenTest, ATokenThatWasAwayAtTheStartIsFoundWhenItIsThere) {
  hsm.token.copies = 0;
  const auto its = provider();
  EXPECT_EQ(its->describe_key(call).error().code, ErrorCode::kms_unavailable);
  hsm.token.copies = 1;
  EXPECT_TRUE(its->describe_key(call));
}

TEST_F(Pkcs11TokenTest, AModuleIsNotFinalisedWhileAnotherProviderUsesIt) {
  const auto its = provider();
  ASSERT_TRUE(its->describe_key(call));
  world.settings["pkcs11.token-label"] = "other";
  EXPECT_EQ(trouble().code, ErrorCode::kms_unavailable);
  EXPECT_EQ(hsm.calls("C_Finalize"), 0);
  EXPECT_TRUE(its->describe_key(call));
}

TEST_F(Pkcs11TokenTest, AModuleThatSomebodyElseInitialisedIsUsedAndNeverFinalised) {
  hsm.answer("C_Initialize", CKR_CRYPTOKI_ALREADY_INITIALIZED, 1);
  const auto its = provider();
  EXPECT_TRUE(its->describe_key(call));
  hsm.token.copies = 0;
  hsm.answer("C_EncryptInit", CKR_TOKEN_NOT_PRESENT, 1);
  EXPECT_FALSE(its->encrypt(call, Bytes(32), context));
  EXPECT_EQ(hsm.calls("C_Finalize"), 0);
  hsm.token.copies = 1;
  EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
}

TEST_F(Pkcs11TokenTest, AModuleThatCannotLockIsCalledByOneAtATime) {
  hsm.answer("C_Initialize", CKR_CANT_LOCK, 2);
  const auto its = provider();
  ASSERT_TRUE(its->encrypt(call, Bytes(32), context));
  const int before = hsm.calls("C_EncryptInit");
  hsm.hang("C_EncryptInit", true);
  {
    std::jthread one([&] { EXPECT_TRUE(its->encrypt(call, Bytes(32), context)); });
    until_called("C_EncryptInit", before + 1);
    EXPECT_FALSE(its->encrypt(in(std::chrono::milliseconds(20)), Bytes(32), context));
    EXPECT_EQ(hsm.calls("C_EncryptInit"), before + 1);
    EXPECT_NE(trouble().message.find("(CKR_CANT_LOCK), and has a user already"), std::string::npos);
    hsm.hang("C_EncryptInit", false);
  }
  EXPECT_TRUE(its->encrypt(call, Bytes(32), context));
}

TEST_F(Pkcs11TokenTest, ATokenThatIsNotThereIsSaidWithThoseThatAre) {
  world.settings["pkcs11.token-label"] = "other";
  EXPECT_EQ(trouble().message,
            "no token is labelled 'other' (pkcs11.token-label); there are: 'fake' (serial 1)");
}

TEST_F(Pkcs11TokenTest, OfTokensOfOneLabelTheSerialSaysWhich) {
  hsm.token.copies = 2;
  EXPECT_EQ(trouble().message,
            "more than one token is labelled 'fake' (pkcs11.token-label); pkcs11.token-serial says "
            "which: 'fake' (serial 1), 'fake' (serial 2)");
  world.settings["pkcs11.token-serial"] = "2";
  const auto made = provider()->encrypt(call, Bytes(32), context);
  ASSERT_TRUE(made);
  // What the device's replacement opens as well.
  EXPECT_EQ(made->master_key_id, "pkcs11:token=fake;object=master");
  world.settings["pkcs11.token-serial"] = "3";
  EXPECT_EQ(trouble().message,
            "no token is labelled 'fake' (pkcs11.token-label) with the serial '3' "
            "(pkcs11.token-serial); there are: 'fake' (serial 1), 'fake' (serial 2)");
}

// --- PIN

TEST_F(Pkcs11TokenTest, APinThatWasRefusedIsNeverTriedAgain) {
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
  EXPECT_EQ(hsm.calls("C_Login"), 1);
}

TEST_F(Pkcs11TokenTest, TheLastTryOfAPinIsLeftToPeople) {
  const auto its = provider();
  for (const auto& [flag, name] :
       {std::pair{CKF_USER_PIN_FINAL_TRY, "locks its user PIN at the next wrong one"},
        {CKF_USER_PIN_LOCKED, "has locked its user PIN"}}) {
    hsm.token.flags = flag;
    const auto described = its->describe_key(call);
    ASSERT_FALSE(described);
    EXPECT_EQ(described.error().code, ErrorCode::kms_access_denied);
    EXPECT_NE(described.error().message.find(name), std::string::npos);
  }
  EXPECT_EQ(hsm.calls("C_Login"), 0);
  // Somebody has logged in by hand.
  hsm.token.flags = 0;
  EXPECT_TRUE(its->describe_key(call));
}

TEST_F(Pkcs11TokenTest, ALogInThatFailsByAnOutageIsTriedOnceACall) {
  const auto its = provider();
  hsm.answer("C_Login", CKR_FUNCTION_FAILED, 1);
  EXPECT_EQ(its->describe_key(call).error().code, ErrorCode::kms_unavailable);
  EXPECT_EQ(hsm.calls("C_Login"), 1);
  EXPECT_TRUE(its->describe_key(call));
}

TEST_F(Pkcs11TokenTest, WhoIsLoggedInAlreadyGoesOn) {
  hsm.answer("C_Login", CKR_USER_ALREADY_LOGGED_IN, 1);
  EXPECT_EQ(trouble().message, "none");
}

TEST_F(Pkcs11TokenTest, ATokenThatWantsNoLogInMayRefuseOne) {
  for (const CK_RV code : {CKR_USER_PIN_NOT_INITIALIZED, CKR_FUNCTION_NOT_SUPPORTED}) {
    hsm.token.flags = 0;
    hsm.answer("C_Login", code, 1);
    EXPECT_EQ(trouble().message, "none");
    hsm.token.flags = CKF_LOGIN_REQUIRED;
    hsm.answer("C_Login", code, 1);
    EXPECT_NE(trouble().message, "none");
  }
}

// --- the key

TEST_F(Pkcs11TokenTest, AKeyThatIsMissingOrThereTwiceIsSaid) {
  hsm.token.keys = 0;
  EXPECT_EQ(trouble().message,
            "the token 'fake' has no AES key labelled 'master' "
            "(pkcs11.key-label)");
  hsm.token.keys = 2;
  EXPECT_EQ(trouble().code, ErrorCode::kms_key_disabled);
  EXPECT_NE(trouble().message.find("more than one AES key"), std::string::npos);
}

TEST_F(Pkcs11TokenTest, AKeyThatIsTooShortOrMayNotEncryptWrapsNothing) {
  hsm.token.key_bytes = 16;
  const auto wrapped = provider()->encrypt(call, Bytes(32), context);
  ASSERT_FALSE(wrapped);
  EXPECT_EQ(wrapped.error().code, ErrorCode::kms_key_disabled);
  EXPECT_NE(wrapped.error().message.find("has 128 bits; accepted are 256"), std::string::npos);
  hsm.reset();
  hsm.token.encrypts = false;
  EXPECT_NE(trouble().message.find("is without CKA_ENCRYPT or CKA_DECRYPT"), std::string::npos);
}

TEST_F(Pkcs11TokenTest, AModuleThatDoesNotSayWhatAKeyMayIsBelieved) {
  hsm.token.says_attributes = false;
  EXPECT_TRUE(provider()->encrypt(call, Bytes(32), context));
}

}  // namespace
}  // namespace betrace::kms
