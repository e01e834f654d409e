// The format, by vectors that another implementation made (tests/data/evidence/make_vectors.py).
#include "evidence/span.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "evidence/checkpoint.h"
#include "evidence/merkle.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

class SpanTest : public ::testing::Test {
 protected:
  SpanTest() {
    const auto parsed = document_.parse(test::data("evidence/vectors.json"));
    EXPECT_TRUE(parsed);
    const auto& root = vectors();
    key_ = KeyId::parse(std::string_view(root.at("keyId").as_string())).value();
    public_key_ = hex_decode(std::string_view(root.at("publicKey").as_string())).value();
    const auto seed = hex_decode(std::string_view(root.at("seed").as_string())).value();
    secret_ = ed25519_key_from_seed(SecretBytes::copy_of(seed));
  }
  const boost::json::object& vectors() const { return document_.root().as_object(); }

  SignatureBytes sign(ByteView statement) const {
    SignJob job{.key = &secret_, .payload = statement};
    sodium_signer().sign({&job, 1});
    return job.signature;
  }
  // As a verifier does that has the one public key.
  std::string message_of(const boost::json::object& span) const {
    const auto parsed = SignedSpan::parse(span);
    if (!parsed.fault.empty()) return parsed.fault;
    VerifyJob job{
        .public_key = public_key_, .payload = parsed.statement, .signature = parsed.signature};
    sodium_signer().verify({&job, 1});
    return job.valid ? "Signature valid" : "Signature invalid or tampered";
  }

  JsonDocument document_;
  KeyId key_;
  Bytes public_key_;
  SecretBytes secret_;
  const Frameworks frameworks_ = Frameworks::with({}, Frameworks::Unknown::refuse).value();
};

TEST_F(SpanTest, SignedSpansAreThoseOfAnotherImplementationByteForByte) {
  for (const auto& each : vectors().at("vectors").as_array()) {
    const auto& vector = each.as_object();
    SCOPED_TRACE(std::string_view(vector.at("name").as_string()));
    const auto span = ComplianceSpan::parse(vector.at("span").as_object(), frameworks_);
    ASSERT_TRUE(span) << span.error().message;
    WipedBytes statement;
    span->write_statement(key_, statement);
    const auto ours = span->signed_json(key_, sign(statement));
    EXPECT_EQ(std::string_view(ours), std::string_view(vector.at("signed").as_string()));
    JsonDocument again;
    ASSERT_TRUE(again.parse(ours));
    EXPECT_EQ(message_of(again.root().as_object()), "Signature valid");
  }
}

TEST_F(SpanTest, LoggedSpansAndTheirCheckpointAreThoseOfAnotherImplementation) {
  const auto& logged = vectors().at("logged").as_object();
  const auto& leaves = logged.at("leaves").as_array();
  GrowingTree tree;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const auto& given = logged.at("spans").as_array()[i].as_object();
    const auto span = LoggedSpan::parse(given);
    EXPECT_EQ(span.fault, "");
    EXPECT_EQ(span.index, i);
    EXPECT_EQ(std::string_view(span.leaf), std::string_view(leaves[i].as_string()));
    auto fresh = given;
    fresh.erase("leafIndex");
    fresh.erase("status");
    EXPECT_EQ(ComplianceSpan::parse(fresh, frameworks_)->logged_json(), span.leaf);
    tree.add_leaf(leaf_hash(as_bytes(span.leaf)));
  }
  const auto key = NoteKey::parse(std::string_view(logged.at("logKey").as_string())).value();
  const auto note = open_note(std::string_view(logged.at("checkpoint").as_string()), key).value();
  const auto checkpoint = Checkpoint::parse(note).value();
  EXPECT_EQ(checkpoint.text(), note);
  EXPECT_EQ(checkpoint.origin, "vectors.example/acme");
  EXPECT_EQ(checkpoint.size, leaves.size());
  EXPECT_EQ(checkpoint.root, tree.root());
}

TEST_F(SpanTest, WhatAnotherImplementationChangedIsFoundAndSaid) {
  for (const auto& each : vectors().at("mutations").as_array()) {
    const auto& mutation = each.as_object();
    EXPECT_EQ(message_of(mutation.at("span").as_object()),
              std::string_view(mutation.at("message").as_string()))
        << mutation.at("name");
  }
}

TEST_F(SpanTest, ASpanThatCannotBeSignedIsRefusedWithFieldAndReason) {
  const std::pair<const char*, const char*> bad[] = {
      {R"({})", "framework: it is missing"},
      {R"({"framework":7})", "framework: accepted is a string"},
      {R"({"framework":"soc2","control":""})", "control: accepted is a string"},
      {R"({"framework":"soc2","control":"CC99"})", "control 'CC99' is not one of framework soc2"},
      {R"({"framework":"soc2","control":"CC6_1"})", "tenantId: it is missing"},
      {R"({"framework":"soc2","control":"CC6_1","tenantId":"a b"})", "tenantId: "},
      {R"({"framework":"soc2","control":"CC6_1","tenantId":"a"})", "timestamp: it is missing"},
      {R"({"framework":"soc2","control":"CC6_1","tenantId":"a","timestamp":"yesterday"})",
       "timestamp: accepted is RFC 3339"},
      {R"({"status":"unsigned","framework":"soc2"})", "status: it is the service's to write"},
      {R"({"keyId":null})", "keyId: it is the service's to write"},
      {R"({"algorithm":"none"})", "algorithm: it is the service's to write"},
  };
  for (const auto& [text, reason] : bad) {
    JsonDocument span;
    ASSERT_TRUE(span.parse(text));
    const auto parsed = ComplianceSpan::parse(span.root().as_object(), frameworks_);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(parsed.error().message.starts_with(reason)) << parsed.error().message;
  }
}

TEST_F(SpanTest, OptionalFieldsAreCheckedWhereTheyAre) {
  const auto refusal = [&](std::string_view field, const boost::json::value& value) {
    boost::json::object span{{"framework", "soc2"},
                             {"control", "CC6_1"},
                             {"tenantId", "a"},
                             {"timestamp", "2026-11-26T22:00:00Z"}};
    span[field] = value;
    const auto parsed = ComplianceSpan::parse(span, frameworks_);
    return parsed ? "" : parsed.error().message;
  };
  EXPECT_EQ(refusal("traceId", "0af7651916cd43dd8448eb211c80319c"), "");
  EXPECT_TRUE(refusal("traceId", "0AF7651916CD43DD8448EB211C80319C").starts_with("traceId: "));
  EXPECT_TRUE(refusal("spanId", "b7ad6b716920333").starts_with("spanId: "));
  EXPECT_TRUE(refusal("metadata", "text").starts_with("metadata: "));
  EXPECT_TRUE(refusal("outcome", 1).starts_with("outcome: "));
  EXPECT_TRUE(refusal("evidenceType", nullptr).starts_with("evidenceType: "));
  EXPECT_EQ(refusal("anything", nullptr), "");
}

TEST_F(SpanTest, TimestampsAreThoseOfRfc3339) {
  const auto accepted = [&](std::string_view timestamp) {
    const boost::json::object span{
        {"framework", "soc2"}, {"control", "CC6_1"}, {"tenantId", "a"}, {"timestamp", timestamp}};
    return ComplianceSpan::parse(span, frameworks_).has_value();
  };
  for (const auto* good : {"2026-11-26T22:00:00Z", "2026-11-26T22:00:00.1Z", "2024-02-29T00:00:00Z",
                           "2026-11-26T22:00:00.123456789012+02:00", "2016-12-31T23:59:60-23:59"}) {
    EXPECT_TRUE(accepted(good)) << good;
  }
  for (const auto* bad :
       {"", "2026-11-26", "2026-11-26 22:00:00Z", "2026-11-26T22:00:00", "2026-11-26T22:00:00.Z",
        "2026-13-26T22:00:00Z", "2026-02-29T22:00:00Z", "2026-11-26T24:00:00Z",
        "2026-11-26T22:60:00Z", "2026-11-26T22:00:61Z", "2026-11-26T22:00:00+24:00",
        "2026-11-26T22:00:00+0200", "2026-11-26T22:00:00Z ", "x026-11-26T22:00:00Z"}) {
    EXPECT_FALSE(accepted(bad)) << bad;
  }
}

}  // namespace
}  // namespace betrace::kms
