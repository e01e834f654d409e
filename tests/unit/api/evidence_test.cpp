// The routes of compliance spans: what goes in, and the shapes that come out.
#include <gtest/gtest.h>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

constexpr const char* sign_route = "/api/compliance/spans/sign";
constexpr const char* verify_one = "/api/compliance/verify/span";
constexpr const char* verify_many = "/api/compliance/verify/batch";

WipedString text(std::string_view json) { return WipedString(json); }

TEST(EvidenceRoutes, TheBodyGoesOnAsItCame) {
  ApiWorld world;
  world.evidence.signed_spans = {.batch = false, .items = {text("{}")}};
  const std::string body = R"( {"span" : {"n":1.50}} )";
  world.post(sign_route, body);
  EXPECT_EQ(world.evidence.document, body);
  EXPECT_EQ(world.evidence.principal.kind, Principal::Kind::admin);
}

TEST(EvidenceRoutes, OneSpanAnswersASpanOrItsProblem) {
  ApiWorld world;
  world.evidence.signed_spans = {.batch = false, .items = {text(R"({"a":1})")}};
  EXPECT_EQ(world.post(sign_route, "{}").body, R"({"span":{"a":1}})");
  world.evidence.signed_spans = {.batch = false,
                                 .items = {fail(ErrorCode::kms_unavailable, "span: down")}};
  const auto refused = world.post(sign_route, "{}");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.code(), "kms_unavailable");
}

TEST(EvidenceRoutes, ManySpansAnswerEachItsOwn) {
  ApiWorld world;
  world.evidence.signed_spans = {
      .batch = true,
      .items = {text(R"({"a":1})"), fail(ErrorCode::tenant_not_found, "spans[1]: none"),
                text(R"({"b":2})")}};
  const auto answer = world.post(sign_route, "{}");
  EXPECT_EQ(answer.status, 200);
  const auto spans = answer.json().as_object().at("spans").as_array();
  ASSERT_EQ(spans.size(), 3u);
  EXPECT_EQ(spans[0], boost::json::parse(R"({"a":1})"));
  EXPECT_EQ(spans[1].as_object().at("error").as_object().at("code"), "tenant_not_found");
  EXPECT_EQ(spans[2], boost::json::parse(R"({"b":2})"));
}

TEST(EvidenceRoutes, AVerdictSaysWhatIsKnownAndNullForTheRest) {
  ApiWorld world;
  world.evidence.verdicts = {.batch = false,
                             .items = {SpanVerdict{.valid = true,
                                                   .message = "Signature valid",
                                                   .tenant = "acme",
                                                   .timestamp = "2026-11-26T22:00:00Z",
                                                   .key_id = "k",
                                                   .key_state = KeyState::rotated}}};
  EXPECT_EQ(world.post(verify_one, "{}").body,
            R"({"valid":true,"message":"Signature valid","tenantId":"acme",)"
            R"("timestamp":"2026-11-26T22:00:00Z","keyId":"k","keyStatus":"DEPRECATED"})");
  world.evidence.verdicts = {.batch = false, .items = {SpanVerdict{.message = "Malformed"}}};
  EXPECT_EQ(world.post(verify_one, "{}").body,
            R"({"valid":false,"message":"Malformed","tenantId":null,"timestamp":null,)"
            R"("keyId":null,"keyStatus":null})");
}

TEST(EvidenceRoutes, ManyVerdictsAreCountedAndAnUnknownOneIsNotValid) {
  ApiWorld world;
  world.evidence.verdicts = {.batch = true,
                             .items = {SpanVerdict{.valid = true, .message = "Signature valid"},
                                       SpanVerdict{.message = "Span is not signed"},
                                       fail(ErrorCode::store_unavailable, "spans[2]: no store")}};
  const auto answer = world.post(verify_many, "{}").json().as_object();
  EXPECT_EQ(answer.at("valid"), 1);
  EXPECT_EQ(answer.at("invalid"), 2);
  EXPECT_EQ(answer.at("results").as_array().size(), 3u);
}

TEST(EvidenceRoutes, EachOfTheTwoVerificationsTakesItsOwnShape) {
  ApiWorld world;
  world.evidence.verdicts = {.batch = true, .items = {}};
  EXPECT_EQ(world.post(verify_one, "{}").code(), "invalid_argument");
  world.evidence.verdicts = {.batch = false, .items = {SpanVerdict{.message = "Malformed"}}};
  EXPECT_EQ(world.post(verify_many, "{}").code(), "invalid_argument");
}

TEST(EvidenceRoutes, WhatIsNoDocumentIsRefusedAsAWhole) {
  ApiWorld world;
  world.evidence.signed_spans = fail(ErrorCode::malformed_json, "not valid JSON at byte 0");
  EXPECT_EQ(world.post(sign_route, "x").code(), "malformed_json");
  world.evidence.verdicts = fail(ErrorCode::invalid_argument, "the body needs either");
  EXPECT_EQ(world.post(verify_many, "x").code(), "invalid_argument");
}

TEST(EvidenceRoutes, DozensOfSpansAreTheHeavyExecutors) {
  ApiWorld world;
  world.evidence.signed_spans = {.batch = true, .items = {}};
  world.post(sign_route, std::string(1000, ' '));
  EXPECT_EQ(world.heavy.posted, 0);
  world.post(sign_route, std::string(10'000, ' '));
  EXPECT_EQ(world.heavy.posted, 1);
  world.heavy.full = true;
  EXPECT_EQ(world.post(sign_route, std::string(10'000, ' ')).code(), "overloaded");
}

}  // namespace
}  // namespace betrace::kms
