#include "providers/pkcs11_remedies.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

struct Pkcs11RemediesTest : testing::Test {
  Pkcs11Settings settings{
      .path = "/lib/hsm.so", .module = nullptr, .token = "betrace", .key = "master"};
  const Pkcs11Remedies remedies{settings};

  Advice advice(TroubleKind kind, Error error) const {
    return remedies.advise({.kind = kind, .error = &error});
  }
  static std::string all(const Advice& advice) {
    std::string text = advice.cause + "\n";
    for (const auto& command : advice.commands) text += command + "\n";
    return text;
  }
};

TEST_F(Pkcs11RemediesTest, AMissingKeyIsMadeSoThatThePinGuardsItAndNotOverOneThatWasLost) {
  const auto it = advice(TroubleKind::key_disabled,
                         {.message = "the token 'betrace' has no AES key labelled 'master'"});
  EXPECT_NE(it.cause.find("a new one opens none of them"), std::string::npos);
  EXPECT_EQ(it.commands.at(1),
            "pkcs11-tool --module /lib/hsm.so --token-label 'betrace' --login --keygen --key-type "
            "AES:32 --private --sensitive --label 'master'");
}

TEST_F(Pkcs11RemediesTest, WhereThereIsAKeyNoneIsMade) {
  for (const auto* words : {"the token 'betrace' has more than one AES key labelled 'master'",
                            "the AES key 'master' (pkcs11.key-label) has 128 bits",
                            "Failed to encrypt: CKR_MECHANISM_INVALID"}) {
    const auto it = advice(TroubleKind::key_disabled, {.message = words});
    EXPECT_EQ(all(it).find("--keygen"), std::string::npos) << words;
    EXPECT_NE(all(it).find("--list-objects"), std::string::npos) << words;
  }
}

TEST_F(Pkcs11RemediesTest, AWrongPinIsCorrectedAndOnlyALockedOneIsSetAnew) {
  const auto denied = [&](const char* type) {
    return all(advice(TroubleKind::access_denied, {.message = "refused", .type = type}));
  };
  EXPECT_EQ(denied("CKR_PIN_INCORRECT").find("--init-pin"), std::string::npos);
  EXPECT_NE(denied("CKR_PIN_INCORRECT").find("restart the service"), std::string::npos);
  EXPECT_EQ(denied("CKF_USER_PIN_FINAL_TRY").find("--init-pin"), std::string::npos);
  EXPECT_NE(denied("CKF_USER_PIN_FINAL_TRY").find("log in by hand"), std::string::npos);
  for (const auto* type : {"CKR_PIN_LOCKED", "CKR_PIN_EXPIRED", "CKF_USER_PIN_LOCKED",
                           "CKR_USER_PIN_NOT_INITIALIZED"}) {
    EXPECT_NE(denied(type).find("--login-type so --init-pin"), std::string::npos) << type;
  }
  EXPECT_EQ(denied("CKR_KEY_FUNCTION_NOT_PERMITTED").find("PIN"), std::string::npos);
}

TEST_F(Pkcs11RemediesTest, OfTokensOfOneLabelTheSerialIsAskedFor) {
  const auto it =
      advice(TroubleKind::unreachable, {.message = "more than one token is labelled 'betrace'"});
  EXPECT_NE(it.cause.find("pkcs11.token-serial"), std::string::npos);
}

TEST_F(Pkcs11RemediesTest, NamesAreWordsOfTheShellAsTheyAre) {
  settings.path = "/opt/my hsm/it's.so";
  settings.token = "bob's";
  settings.key = "$(reboot)";
  const auto it = advice(TroubleKind::key_disabled, {.message = "has no AES key labelled"});
  EXPECT_EQ(it.commands.at(1),
            R"(pkcs11-tool --module '/opt/my hsm/it'\''s.so' --token-label 'bob'\''s' --login )"
            R"(--keygen --key-type AES:32 --private --sensitive --label '$(reboot)')");
}

}  // namespace
}  // namespace betrace::kms
