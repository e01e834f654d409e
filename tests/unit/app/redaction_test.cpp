// What leaves the machine holds no secret.
#include "app/redaction.h"

#include <gtest/gtest.h>

#include "base/encoding.h"

namespace betrace::kms {
namespace {

constexpr std::string_view secret = "canary/Secret+0123456789";

std::string redacted(std::string_view text) {
  Redaction redaction;
  redaction.add(SecretBytes::copy_of(as_bytes(secret)));
  redaction.add(SecretBytes::copy_of(as_bytes("4711")));
  redaction.add(SecretBytes());
  return redaction.apply(text);
}

TEST(Redaction, FindsAKnownSecretInEveryUsualForm) {
  const auto bytes = as_bytes(secret);
  std::string upper = hex_encode(bytes);
  for (auto& c : upper) c = static_cast<char>(std::toupper(c));
  for (const auto& form : {std::string(secret), hex_encode(bytes), upper, base64_encode(bytes),
                           base64url_encode(bytes)}) {
    EXPECT_EQ(redacted("before (" + form + ") after"), "before (****) after") << form;
  }
}

TEST(Redaction, FindsItInTheBase64OfALongerText) {
  for (const std::string before : {"", "a", "ab", "abc"}) {
    const auto text = before + std::string(secret) + "and more";
    const auto shown = redacted(base64_encode(as_bytes(text)));
    EXPECT_NE(shown.find("****"), std::string::npos) << shown;
  }
}

TEST(Redaction, AShortSecretIsFoundAsAWordOnly) {
  EXPECT_EQ(redacted("pin is 4711, at 14711 ms"), "pin is ****, at 14711 ms");
}

TEST(Redaction, WhatStandsBehindATellingWordGoes) {
  EXPECT_EQ(redacted("Authorization: Bearer abc.def"), "Authorization: **** ****");
  EXPECT_EQ(redacted(R"({"vaultToken":"s.123","ttl":5})"), R"({"vaultToken":"****","ttl":5})");
  EXPECT_EQ(redacted(R"({"pin":99,"secretLocked":true})"), R"({"pin":"****","secretLocked":true})");
  EXPECT_EQ(redacted("ADMIN_TOKEN=abc next"), "ADMIN_TOKEN=**** next");
  EXPECT_EQ(redacted("db.password = hunter2"), "db.password = ****");
  EXPECT_EQ(redacted("postgresql://kms:hunter2@db/kms"), "postgresql://kms:****@db/kms");
  EXPECT_EQ(redacted("user-pin: 99"), "user-pin: ****");
}

TEST(Redaction, LeavesWhatIsNoSecret) {
  for (const std::string_view text :
       {"the admin token is in data/admin-token", "https://kms.example.com:443/a@b",
        "mapping: 5, opinion=6", "betrace.admin.token=****", "kms_cache_hit_total 5"}) {
    EXPECT_EQ(redacted(text), text);
  }
}

}  // namespace
}  // namespace betrace::kms
