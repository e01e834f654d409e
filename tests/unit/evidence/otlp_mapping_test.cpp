// From OTLP to the span that is signed, as another implementation reads docs/evidence-format.md
// (tests/data/otlp/make_spans.py), and back.
#include "evidence/otlp_mapping.h"

#include <algorithm>
#include <random>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"
#include "evidence/span.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

using enum OtlpSignal;
using enum OtlpEncoding;

std::string canonical(const boost::json::object& object) {
  WipedString text;
  CanonicalFields(object).append_to(text);
  return std::string(text);
}

struct Vector {
  std::string name, protobuf, json;
  OtlpSignal signal;
  boost::json::array spans;

  OtlpRequest request(OtlpEncoding encoding = OtlpEncoding::protobuf) const {
    return OtlpRequest::decode(signal, encoding, encoding == OtlpEncoding::json ? json : protobuf)
        .value();
  }
};

std::vector<Vector> vectors() {
  std::vector<Vector> all;
  for (const auto& each : test::vectors("otlp/spans.json")) {
    const auto body = base64_decode(test::text_of(each, "protobuf")).value();
    all.push_back({.name = std::string(test::text_of(each, "name")),
                   .protobuf = std::string(as_text(body)),
                   .json = std::string(test::text_of(each, "json")),
                   .signal = test::text_of(each, "signal") == "traces" ? traces : logs,
                   .spans = each.at("spans").as_array()});
  }
  return all;
}

Vector vector_called(std::string_view name) {
  const auto all = vectors();
  return *std::ranges::find(all, name, &Vector::name);
}

// What the compliance items of a request are, as the vectors have it.
boost::json::array spans_of(const OtlpRequest& request, const boost::json::array& wanted) {
  boost::json::array found;
  for (std::size_t item = 0; item < request.items(); ++item) {
    if (!is_compliance_item(request, item)) continue;
    const auto span = compliance_span_of(request, item);
    boost::json::object one{{"index", static_cast<std::int64_t>(item)}};
    if (span) {
      one["span"] = canonical(*span);
    } else {
      EXPECT_EQ(span.error().code, ErrorCode::invalid_argument);
      // The words are ours, what has to be in them is the vector's.
      const auto at = found.size();
      const auto word = at < wanted.size() && wanted[at].as_object().contains("refusal")
                            ? test::text_of(wanted[at], "refusal")
                            : "a span";
      const bool says = span.error().message.find(word) != std::string::npos;
      one["refusal"] = says ? std::string(word) : span.error().message;
    }
    found.emplace_back(std::move(one));
  }
  return found;
}

// Signs and verifies as the service does, by one key.
class OtlpSigning : public ::testing::Test {
 protected:
  OtlpSigning() {
    const Bytes seed(32, 7);
    secret_ = ed25519_key_from_seed(SecretBytes::copy_of(seed));
  }

  void sign(OtlpRequest& request, std::size_t item) const {
    const auto object = compliance_span_of(request, item).value();
    const auto span = ComplianceSpan::parse(object, frameworks_).value();
    WipedBytes statement;
    span.write_statement(key_, statement);
    SignJob job{.key = &secret_, .payload = statement};
    sodium_signer().sign({&job, 1});
    set_signature(request, item, key_, job.signature);
  }
  bool verifies(const OtlpRequest& request, std::size_t item) const {
    const auto object = compliance_span_of(request, item);
    if (!object) return false;
    const auto span = SignedSpan::parse(*object);
    if (!span.fault.empty()) return false;
    VerifyJob job{.public_key = ed25519_public_half(secret_),
                  .payload = span.statement,
                  .signature = span.signature};
    sodium_signer().verify({&job, 1});
    return job.valid;
  }

  const KeyId key_{std::array<std::uint8_t, 16>{1}};
  SecretBytes secret_;
  const Frameworks frameworks_ = Frameworks::with({}, Frameworks::Unknown::refuse).value();
};

TEST(OtlpMapping, SpansAreThoseOfAnotherImplementationByteForByte) {
  for (const auto& vector : vectors()) {
    SCOPED_TRACE(vector.name);
    EXPECT_EQ(spans_of(vector.request(), vector.spans), vector.spans);
  }
}

TEST(OtlpMapping, JsonAndProtobufOfARequestAreOneSpan) {
  for (const auto& vector : vectors()) {
    SCOPED_TRACE(vector.name);
    EXPECT_EQ(spans_of(vector.request(json), vector.spans), vector.spans);
  }
}

// Attributes of items, of events, and fields of maps are sets; arrays, events and links are not.
void shuffle_attributes(boost::json::value& value, std::mt19937& random) {
  if (auto* list = value.if_array()) {
    for (auto& each : *list) shuffle_attributes(each, random);
  } else if (auto* object = value.if_object()) {
    for (auto& [name, member] : *object) {
      auto* of = name == "attributes"    ? &member.as_array()
                 : name == "kvlistValue" ? member.as_object()["values"].if_array()
                                         : nullptr;
      if (of != nullptr) std::ranges::shuffle(*of, random);
      shuffle_attributes(member, random);
    }
  }
}

TEST(OtlpMapping, TheOrderOfAttributesDoesNotMatter) {
  std::mt19937 random(5);
  for (const auto* name : {"everything that a span may have", "log records"}) {
    const auto vector = vector_called(name);
    auto body = boost::json::parse(vector.json);
    for (int round = 0; round < 200; ++round) {
      shuffle_attributes(body, random);
      const auto request =
          OtlpRequest::decode(vector.signal, json, boost::json::serialize(body)).value();
      ASSERT_EQ(spans_of(request, vector.spans), vector.spans);
    }
  }
}

TEST_F(OtlpSigning, WhatWasSignedVerifiesAfterItsWayThroughThePipeline) {
  for (const auto* name : {"everything that a span may have", "several resources and scopes",
                           "doubles", "a status alone", "log records"}) {
    SCOPED_TRACE(name);
    const auto vector = vector_called(name);
    auto request = vector.request();
    for (const auto& each : vector.spans) sign(request, each.at("index").to_number<std::size_t>());
    const auto received = OtlpRequest::decode(vector.signal, protobuf, request.encode()).value();
    std::size_t verified = 0;
    for (std::size_t item = 0; item < received.items(); ++item) {
      if (!carries_signature(received, item)) continue;
      EXPECT_TRUE(verifies(received, item)) << item;
      EXPECT_EQ(received.text_attribute(item, "betrace.signature.algorithm"), "Ed25519");
      EXPECT_EQ(received.text_attribute(item, "betrace.signature.status"), "signed");
      EXPECT_EQ(received.text_attribute(item, "betrace.signature.key_id"), key_.str());
      ++verified;
    }
    EXPECT_EQ(verified, vector.spans.size());
  }
}

TEST_F(OtlpSigning, NothingButTheSignedItemsChanges) {
  const auto vector = vector_called("several resources and scopes");
  const auto later = std::string("\xc2\x3e\x05later");  // field 1000 of the request
  auto request = OtlpRequest::decode(traces, protobuf, vector.protobuf + later).value();
  sign(request, 1);
  EXPECT_NE(request.encode(), vector.protobuf + later);
  request.remove_attributes(1, "betrace.signature");
  EXPECT_EQ(hex_encode(as_bytes(request.encode())), hex_encode(as_bytes(vector.protobuf + later)));
}

TEST_F(OtlpSigning, NoEditOfASignedItemVerifiesAsAnotherSpan) {
  auto request = vector_called("everything that a span may have").request();
  sign(request, 0);
  const auto whole = request.encode();
  const auto original = canonical(compliance_span_of(request, 0).value());
  std::mt19937 random(11);
  int read = 0, same = 0;
  for (int round = 0; round < 10'000; ++round) {
    auto body = whole;
    const auto at = random() % body.size();
    switch (random() % 4) {
      case 0:
        body[at] = static_cast<char>(body[at] ^ 1 << random() % 8);
        break;
      case 1:
        body[at] = static_cast<char>(random());
        break;
      case 2:
        body.erase(at, 1 + random() % 8);
        break;
      default:
        body.insert(at, body.substr(random() % body.size(), random() % 32));
    }
    const auto edited = OtlpRequest::decode(traces, protobuf, body);
    if (!edited) continue;
    ++read;
    EXPECT_TRUE(OtlpRequest::decode(traces, protobuf, edited->encode()));
    for (std::size_t item = 0; item < edited->items(); ++item) {
      if (!is_compliance_item(*edited, item) || !verifies(*edited, item)) continue;
      ++same;
      ASSERT_EQ(canonical(compliance_span_of(*edited, item).value()), original);
    }
  }
  EXPECT_GT(read, 1000);
  EXPECT_GT(same, 10);  // an edit of what is not signed
}

TEST(OtlpMapping, EveryEditOfARequestIsReadOrRefused) {
  std::mt19937 random(13);
  const auto all = vectors();
  for (int round = 0; round < 10'000; ++round) {
    const auto& vector = all[random() % all.size()];
    const bool as_json = random() % 2 == 0 && vector.json.size() < 10'000;
    auto body = as_json ? vector.json : vector.protobuf;
    for (auto edits = 1 + random() % 3; edits > 0 && !body.empty(); --edits) {
      body[random() % body.size()] = static_cast<char>(random());
    }
    auto request = OtlpRequest::decode(vector.signal, as_json ? json : protobuf, body);
    if (!request) continue;
    for (std::size_t item = 0; item < request->items(); ++item) {
      if (const auto span = compliance_span_of(*request, item)) (void)SignedSpan::parse(*span);
      set_signing_failed(*request, item);
      EXPECT_EQ(request->text_attribute(item, "betrace.signature.status"), "signing_failed");
    }
    EXPECT_TRUE(OtlpRequest::decode(vector.signal, protobuf, request->encode()));
  }
}

TEST_F(OtlpSigning, TheDeepestSpanCanBeVerifiedByTheRoutesOfJson) {
  auto request = vector_called("as deep as may be").request();
  const auto object = compliance_span_of(request, 0).value();
  const auto span = ComplianceSpan::parse(object, frameworks_).value();
  JsonDocument document;
  const auto batch = R"({"spans":[)" + std::string(span.signed_json(key_, {})) + "]}";
  const auto parsed = document.parse(batch);
  EXPECT_TRUE(parsed) << parsed.error().message;
}

TEST_F(OtlpSigning, AnItemThatCannotBeSignedIsFlaggedAndOtherwiseAsItWas) {
  auto request = vector_called("a span signed before").request();
  const auto signature = std::string(*request.text_attribute(0, "betrace.signature"));
  set_signing_failed(request, 0);
  EXPECT_EQ(request.text_attribute(0, "betrace.signature.status"), "signing_failed");
  EXPECT_EQ(request.text_attribute(0, "betrace.signature"), signature);
  EXPECT_FALSE(verifies(request, 0));

  auto twice = vector_called("a hidden attribute twice").request();
  set_signing_failed(twice, 0);
  twice.remove_attributes(0, "betrace.signature.status");
  EXPECT_FALSE(twice.has_attribute(0, "betrace.signature.status"));
}

TEST_F(OtlpSigning, AnIdOfAnotherLengthIsTheSpanFormatsToRefuse) {
  const auto request =
      vector_called("ids of another length are the span format's to refuse").request();
  const auto span = ComplianceSpan::parse(compliance_span_of(request, 0).value(), frameworks_);
  ASSERT_FALSE(span);
  EXPECT_EQ(span.error().message.substr(0, 8), "traceId:");
}

}  // namespace
}  // namespace betrace::kms
