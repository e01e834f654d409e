#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

class Sealing : public testing::Test {
 protected:
  Sealing() { world.keys.add_tenant("acme"); }

  ApiAnswer encrypt(const std::string& fields) {
    return world.post("/api/tenants/acme/encrypt", "{" + fields + "}");
  }
  ApiAnswer decrypt(const std::string& fields) {
    return world.post("/api/tenants/acme/decrypt", "{" + fields + "}");
  }

  ApiWorld world;
};

TEST_F(Sealing, DecryptsWhatItEncrypted) {
  const auto sealed = encrypt(R"("plaintext":"aGVsbG8=","context":{"purpose":"test"})");
  EXPECT_EQ(sealed.status, 200);
  const auto text = sealed.text("ciphertext");
  EXPECT_TRUE(text.starts_with("betrace:v1:"));
  EXPECT_EQ(text.find_first_of("+/="), std::string::npos);
  const auto opened = decrypt(R"("ciphertext":")" + text + R"(","context":{"purpose":"test"})");
  EXPECT_EQ(opened.body, R"({"plaintext":"aGVsbG8="})");
}

TEST_F(Sealing, AnotherContextIsRefusedInTheWordsOfTheManual) {
  const auto text = encrypt(R"("plaintext":"AAAA","context":{"a":"1"})").text("ciphertext");
  const auto answer = decrypt(R"("ciphertext":")" + text + R"(","context":{"a":"2"})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.code(), "invalid_ciphertext");
  EXPECT_NE(answer.text("detail").find(context_mismatch_message), std::string::npos);
  EXPECT_EQ(decrypt(R"("ciphertext":")" + text + "\"").status, 400);
}

TEST_F(Sealing, WorksOnManyUnderOneContext) {
  const auto sealed = encrypt(R"("plaintexts":["AAAA","","QkJC"],"context":{"k":"v"})");
  EXPECT_EQ(sealed.status, 200);
  std::string list;
  const auto made = sealed.json();
  for (const auto& item : made.at("results").as_array()) {
    list += std::string(list.empty() ? "" : ",") + "\"" +
            std::string(item.at("ciphertext").as_string().c_str()) + "\"";
  }
  const auto opened =
      decrypt(R"("ciphertexts":[)" + list +
              R"(,"nonsense","betrace:v1:!!","betrace:v1:AAAA"],"context":{"k":"v"})");
  EXPECT_EQ(opened.status, 200);
  const auto value = opened.json();
  const auto& results = value.at("results").as_array();
  ASSERT_EQ(results.size(), 6U);
  EXPECT_EQ(results[0].at("plaintext").as_string(), "AAAA");
  EXPECT_EQ(results[1].at("plaintext").as_string(), "");
  EXPECT_EQ(results[2].at("plaintext").as_string(), "QkJC");
  for (int i = 3; i < 6; ++i) {
    EXPECT_EQ(results[i].at("error").at("code").as_string(), "invalid_ciphertext") << i;
  }
}

TEST_F(Sealing, TextThatIsNoCiphertextIsInvalid) {
  for (const auto* text : {"", "hello", "betrace:v1", "betrace:v2:AAAA", "BETRACE:v1:AAAA",
                           "betrace:v1:A", "betrace:v1:AA==", "betrace:v1:A+/A"}) {
    const auto answer = decrypt(R"("ciphertext":")" + std::string(text) + "\"");
    EXPECT_EQ(answer.status, 400) << text;
    EXPECT_EQ(answer.code(), "invalid_ciphertext") << text;
  }
  EXPECT_EQ(decrypt(R"("ciphertext":7)").code(), "invalid_argument");
}

TEST_F(Sealing, AContextIsAnObjectOfStringsOf64Pairs) {
  for (const auto* context :
       {"[]", "\"x\"", "7", R"({"a":1})", R"({"a":null})", R"({"a":{}})", R"({"a":["b"]})"}) {
    const auto answer = encrypt(R"("plaintext":"","context":)" + std::string(context));
    EXPECT_EQ(answer.status, 400) << context;
    EXPECT_EQ(answer.code(), "invalid_argument") << context;
    EXPECT_NE(answer.text("detail").find("context"), std::string::npos);
  }
  const auto pairs = [](int n) {
    std::string text = R"("plaintext":"","context":{)";
    for (int i = 0; i < n; ++i) text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":\"v\"";
    return text + "}";
  };
  EXPECT_EQ(encrypt(pairs(64)).status, 200);
  EXPECT_EQ(encrypt(pairs(65)).status, 400);
  const auto many = encrypt(pairs(10'000));
  EXPECT_EQ(many.status, 400);
  EXPECT_NE(many.text("detail").find("10000 pairs; at most 64"), std::string::npos);
  EXPECT_EQ(encrypt(R"("plaintext":"","context":null)").status, 200);
}

TEST_F(Sealing, GivesADataKeyThatDecryptOpens) {
  const auto made = world.post("/api/tenants/acme/data-key", R"({"context":{"a":"b"}})");
  EXPECT_EQ(made.status, 200);
  EXPECT_EQ(base64_decode(made.text("plaintext"))->size(), 32U);
  const auto opened =
      decrypt(R"("ciphertext":")" + made.text("ciphertext") + R"(","context":{"a":"b"})");
  EXPECT_EQ(opened.text("plaintext"), made.text("plaintext"));
  EXPECT_EQ(world.post("/api/tenants/acme/data-key", "").status, 200);
  EXPECT_EQ(world.post("/api/tenants/acme/data-key", "{}").status, 200);
}

TEST_F(Sealing, AnUnknownTenantLearnsHowToBeCreated) {
  for (const auto& [path, body] :
       {std::pair{"encrypt", R"({"plaintext":""})"},
        std::pair{"decrypt", R"({"ciphertext":"betrace:v1:AA"})"}, std::pair{"data-key", ""}}) {
    const auto answer = world.post(std::string("/api/tenants/nobody/") + path, body);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_NE(answer.text("detail").find("PUT /api/tenants/nobody"), std::string::npos);
  }
}

}  // namespace
}  // namespace betrace::kms
