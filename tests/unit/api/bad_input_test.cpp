// The list of bad inputs: each is a clear 4xx with a stable code, nothing is lost, and no error
// repeats what may have been a secret.
#include <random>
#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

const std::string verbs_with_body[] = {"sign", "verify", "encrypt", "decrypt", "data-key"};

class BadInput : public testing::Test {
 protected:
  BadInput() { world.keys.add_tenant("acme"); }

  ApiAnswer post(const std::string& verb, std::string body) {
    return world.post("/api/tenants/acme/" + verb, std::move(body));
  }
  void expect_refused(const ApiAnswer& answer, std::string_view code, const std::string& what) {
    EXPECT_GE(answer.status, 400) << what;
    EXPECT_LT(answer.status, 500) << what;
    EXPECT_EQ(answer.code(), code) << what;
    EXPECT_EQ(answer.type, "application/problem+json") << what;
    EXPECT_FALSE(answer.text("detail").empty()) << what;
    EXPECT_EQ(answer.body.find("CANARY"), std::string::npos) << what << answer.body;
  }

  ApiWorld world;
};

TEST_F(BadInput, WhatIsNotJsonIsMalformed) {
  const std::string bodies[] = {"CANARY",
                                "{\"payload\":\"CANARY\"",
                                "{\"payload\":\"CANARY\"} CANARY",
                                "{\"payload\":\"CANARY\",\"payload\":\"CANARY\"}",
                                "{\"payload\":\"CANARY\\ud800\"}",
                                "{\"payload\":\"CANARY\xff\"}",
                                std::string("{\"payload\":\"CANARY\0\"}", 21),
                                std::string("\0\0\0", 3),
                                "{\"payload\":9007199254740993}",
                                std::string(40, '[') + std::string(40, ']'),
                                std::string(500'000, '['),
                                "payload=CANARY"};
  for (const auto& verb : verbs_with_body) {
    for (const auto& body : bodies) {
      expect_refused(post(verb, body), "malformed_json", verb + " " + body.substr(0, 60));
    }
  }
}

TEST_F(BadInput, AnEmptyBodyIsMalformedWhereOneIsNeeded) {
  for (const auto* verb : {"sign", "verify", "encrypt", "decrypt"}) {
    expect_refused(post(verb, ""), "malformed_json", verb);
  }
}

TEST_F(BadInput, WrongTypesNameTheFieldAndWhatIsAccepted) {
  for (const auto* value : {"1", "true", "[]", "{}", "1.5", "[\"CANARY\"]"}) {
    const auto body = "{\"payload\":" + std::string(value) + "}";
    const auto answer = post("sign", body);
    expect_refused(answer, "invalid_argument", body);
    EXPECT_NE(answer.text("detail").find("the field 'payload' must be a base64 string, not a"),
              std::string::npos)
        << answer.body;
  }
  for (const auto* body : {"[]", "\"CANARY\"", "7", "null", "true"}) {
    for (const auto& verb : verbs_with_body)
      expect_refused(post(verb, body), "invalid_argument", body);
  }
  EXPECT_EQ(post("sign", R"({"payloads":["",7]})").text("detail"),
            "the field 'payloads[1]' must be a base64 string, not a number");
}

TEST_F(BadInput, AnUnknownFieldIsNamed) {
  const auto answer = post("sign", R"({"payload":"","keyid":"CANARY"})");
  expect_refused(answer, "invalid_argument", "keyid");
  EXPECT_EQ(answer.text("detail"),
            "the body has an unknown field 'keyid'; accepted: payload, payloads");
  const auto endless = post("sign", "{\"" + std::string(5000, 'x') + "\":1}");
  EXPECT_LT(endless.body.size(), 400U);
}

TEST_F(BadInput, Base64IsTheStandardOneAndStrict) {
  for (const auto* text : {"CANARY", "CANARYx=", "CANAR-_=", "CANARY==", "CAN ARYx",
                           "CANARY\\n==", "C", "=", "====", "CANA\\u0000", "CANA\u00e9"}) {
    const auto body = "{\"payload\":\"" + std::string(text) + "\"}";
    expect_refused(post("sign", body), "invalid_argument", body);
  }
}

TEST_F(BadInput, OversizedPayloadsAreRefused) {
  const auto single = R"({"payload":")" + std::string((1 << 20) + 4, 'A') + "\"}";
  expect_refused(post("sign", single), "payload_too_large", "single body");
  expect_refused(post("encrypt", R"({"plaintext":")" + std::string(1 << 20, 'A') + "\"}"),
                 "payload_too_large", "single body");
  const auto item = std::string(1'500'000, 'A');
  expect_refused(post("sign", R"({"payloads":[")" + item + "\"]}"), "payload_too_large", "an item");
  const auto allowed = std::string(1'200'000, 'A');
  EXPECT_EQ(post("sign", R"({"payloads":[")" + allowed + "\"]}").status, 200);
  expect_refused(post("sign", std::string((16 << 20) + 1, ' ')), "payload_too_large", "batch body");
  expect_refused(world.post("/api/tenants/acme/rotate", std::string((1 << 20) + 1, ' ')),
                 "payload_too_large", "rotate");
}

TEST_F(BadInput, ABodyOfAMillionNumbersIsRefusedCheaply) {
  std::string body = "{\"payloads\":[0";
  for (int i = 0; i < 1'100'000; ++i) body += ",0";
  expect_refused(post("sign", body + "]}"), "malformed_json", "many values");
}

TEST_F(BadInput, SecretsOfAProblemStayOut) {
  for (const auto* body :
       {R"({"plaintext":"CANARY!"})", R"({"plaintext":"AAAA","context":"CANARY"})",
        R"({"plaintext":"AAAA","context":{"a":["CANARY"]}})", R"({"plaintext":{"a":"CANARY"}})",
        R"({"plaintexts":"CANARY"})"}) {
    expect_refused(post("encrypt", body), "invalid_argument", body);
  }
  expect_refused(post("decrypt", R"({"ciphertext":"CANARY"})"), "invalid_ciphertext", "decrypt");
  expect_refused(post("verify", R"({"payload":"CANARY!","signature":""})"), "invalid_argument",
                 "verify");
  const auto refused = world.raw({.method = "POST",
                                  .target = "/api/tenants/acme/sign",
                                  .headers = {{"Authorization", "Bearer CANARY"}}});
  expect_refused(refused, "unauthenticated", "token");
}

// Whatever is sent, the answer is one whole JSON document with a status of the contract.
TEST_F(BadInput, RandomRequestsAreAnswered) {
  std::mt19937 random(20261124);
  const std::string seeds[] = {R"({"payload":"aGVsbG8="})", R"({"payloads":["aGVsbG8=","AAAA"]})",
                               R"({"payload":"AAAA","signature":"AAAA","version":1})",
                               R"({"plaintext":"AAAA","context":{"a":"b"}})",
                               R"({"ciphertexts":["betrace:v1:AAAA"],"context":{"a":"b"}})"};
  const std::string_view alphabet = "{}[]\",:AZaz09+/=\\ \x80\xff\n";
  for (int round = 0; round < 3000; ++round) {
    auto body = seeds[random() % std::size(seeds)];
    for (unsigned i = 0; i < random() % 4; ++i) {
      const auto at = random() % body.size();
      if (random() % 2) {
        body[at] = alphabet[random() % alphabet.size()];
      } else {
        body.insert(at, 1, alphabet[random() % alphabet.size()]);
      }
    }
    const auto& verb = verbs_with_body[random() % std::size(verbs_with_body)];
    const auto answer = post(verb, body);
    EXPECT_TRUE(answer.status == 200 || answer.status == 400 || answer.status == 404) << body;
    (void)answer.json();
  }
}

TEST_F(BadInput, RandomTargetsAreAnswered) {
  std::mt19937 random(20261125);
  const std::string_view alphabet = "/%?&=.{}ABCabc012:@-_~ \xff";
  for (int round = 0; round < 3000; ++round) {
    std::string target = round % 2 ? "/api/tenants/" : "/";
    for (unsigned i = 0; i < random() % 12; ++i) target += alphabet[random() % alphabet.size()];
    const auto answer = world.get(target);
    EXPECT_TRUE(answer.status == 200 || (answer.status >= 400 && answer.status < 500)) << target;
    (void)answer.json();
  }
}

}  // namespace
}  // namespace betrace::kms
