// A stream whose items' places in the log stand for signatures (betrace.otlp.signing=log), and the
// verification of what came out of it.
#include "evidence/otlp_ingest.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "evidence/bundle.h"
#include "evidence/otlp_mapping.h"
#include "support/logged_evidence.h"

namespace betrace::kms {
namespace {

using boost::json::value;

std::string json_item(std::string_view tenant, std::string_view name) {
  return fmt::format(R"({{"name":"{}","startTimeUnixNano":"1764288000000000123","attributes":[)"
                     R"({{"key":"compliance.framework","value":{{"stringValue":"soc2"}}}},)"
                     R"({{"key":"compliance.control","value":{{"stringValue":"CC6_1"}}}},)"
                     R"({{"key":"compliance.tenant_id","value":{{"stringValue":"{}"}}}}]}})",
                     name, tenant);
}

template <class... Items>
std::string json_request(const Items&... items) {
  std::string list;
  ((list += (list.empty() ? "" : ",") + std::string(items)), ...);
  return R"({"resourceSpans":[{"scopeSpans":[{"spans":[)" + list + "]}]}]}";
}

class OtlpIngestTest : public LoggedEvidence {
 protected:
  OtlpIngestTest() { stream(true); }

  void stream(bool log_only) {
    stream_ = std::make_unique<OtlpIngest>(OtlpIngestParts{
        .evidence = {.keys = *service,
                     .signer = *service,
                     .authorizer = authorizer,
                     .metrics = metrics,
                     .frameworks = Frameworks::with({}, Frameworks::Unknown::refuse).value(),
                     .log = slot.get(),
                     .blocking = &blocking},
        .forwards = true,
        .log_only = log_only});
  }
  // What goes on to the next in line.
  OtlpRequest pass(std::string_view body, std::string_view type = "application/json") {
    auto& journal = slot->get().value()->journal();
    const auto before = journal.end();
    std::promise<Result<StreamAnswer>> promise;
    stream_->take(call,
                  {.signal = StreamSignal::traces,
                   .content_type = type,
                   .content_encoding = {},
                   .body = body},
                  [&](Result<StreamAnswer> answer) { promise.set_value(std::move(answer)); });
    auto answer = promise.get_future().get();
    EXPECT_TRUE(answer) << answer.error().message;
    warning = answer ? answer->body : "";
    const auto batches = journal.read(before, 1 << 20).value();
    for (const auto& record : batches.records) {
      if (record.kind != OtlpIngest::traces_record) continue;
      return OtlpRequest::decode(OtlpSignal::traces, OtlpEncoding::protobuf, record.bytes).value();
    }
    throw std::runtime_error("nothing goes on");
  }
  static std::string attribute(const OtlpRequest& request, std::size_t item,
                               std::string_view name) {
    return std::string(request.text_attribute(item, name).value_or("none"));
  }
  static std::string span_of(const OtlpRequest& request, std::size_t item) {
    return boost::json::serialize(compliance_span_of(request, item).value());
  }
  SpanVerdict verdict(std::string_view span) {
    std::promise<Result<Evidence::Items<Result<SpanVerdict>>>> promise;
    evidence->verify_spans(
        call, fmt::format(R"({{"span":{}}})", span),
        [&](Result<Evidence::Items<Result<SpanVerdict>>> done) { promise.set_value(done); });
    return promise.get_future().get().value().items.front().value();
  }
  double counted(std::string_view result) { return metrics.otlp_items("traces", result).Value(); }

  std::unique_ptr<OtlpIngest> stream_;
  std::string warning;
};

TEST_F(OtlpIngestTest, ALoggedItemCarriesItsPlaceAndIsALeafThere) {
  pass(json_request(json_item("acme", "first")));
  const auto out = pass(json_request(json_item("acme", "second"), R"({"name":"plain"})",
                                     json_item("other", "third")));
  EXPECT_EQ(attribute(out, 0, "betrace.signature.status"), "logged");
  EXPECT_EQ(attribute(out, 0, "betrace.signature.leaf_index"), "1");
  EXPECT_EQ(attribute(out, 0, "betrace.signature"), "none");
  EXPECT_EQ(attribute(out, 1, "betrace.signature.status"), "none");
  EXPECT_EQ(attribute(out, 2, "betrace.signature.leaf_index"), "0");
  const auto note = archive->checkpoint(acme).value();
  EXPECT_EQ(attribute(out, 0, "betrace.signature.log"), note.substr(0, note.find('\n')));
  EXPECT_TRUE(attribute(out, 2, "betrace.signature.log").ends_with("/other"));
  const auto leaf = archive->leaves(acme, 1, 2, 1 << 20).value().front();
  EXPECT_NE(leaf.find(R"("name":"second")"), std::string::npos);
  EXPECT_NE(leaf.find(R"("status":"logged")"), std::string::npos);
  EXPECT_EQ(counted("logged"), 3);
  EXPECT_EQ(counted("passed"), 1);
  EXPECT_EQ(counted("signed"), 0);
}

TEST_F(OtlpIngestTest, ALoggedSpanVerifiesWhereItIsAndNowhereElse) {
  const auto out = pass(json_request(json_item("acme", "first"), json_item("acme", "second")));
  pass(json_request(json_item("other", "theirs")));
  const auto good = span_of(out, 1);
  const auto found = verdict(good);  // no checkpoint was there before
  EXPECT_TRUE(found.valid) << found.message;
  EXPECT_TRUE(found.message.starts_with("In the evidence log: leaf 1, which the checkpoint of "));
  EXPECT_EQ(found.key_id, "");
  const auto changed = [&](std::string_view from, std::string_view to) {
    auto bad = good;
    return bad.replace(bad.find(from), from.size(), to);
  };
  const std::vector<std::string> elsewhere{
      changed("second", "secund"), changed(R"("leafIndex":"1")", R"("leafIndex":"0")"),
      changed(R"("leafIndex":"1")", R"("leafIndex":"2")"), changed("\"acme\"", "\"other\""),
      changed("\"acme\"", "\"nobody\"")};
  for (const auto& bad : elsewhere) {
    EXPECT_FALSE(verdict(bad).valid) << bad;
    EXPECT_TRUE(verdict(bad).message.starts_with("Not in the evidence log: ")) << bad;
  }
  const std::vector<std::string> malformed{
      changed(R"("leafIndex":"1")", R"("leafIndex":"01")"),
      changed(R"("leafIndex":"1")", R"("leafIndex":1)"), changed(R"("leafIndex":"1")", R"("x":1)"),
      changed("\"acme\"", "\"a b\""), changed(R"("leafIndex")", R"("keyId":"x","leafIndex")")};
  for (const auto& bad : malformed) {
    EXPECT_FALSE(verdict(bad).valid) << bad;
    EXPECT_TRUE(verdict(bad).message.starts_with("Malformed: ")) << verdict(bad).message;
  }
  EXPECT_FALSE(verdict(changed("\"logged\"", "\"signed\"")).valid);
}

TEST_F(OtlpIngestTest, ASecondPassLeavesPlacesAloneAndFlagsWhatWasChanged) {
  const auto out = pass(json_request(json_item("acme", "first"), json_item("acme", "second")));
  for (const bool log_only : {true, false}) {
    stream(log_only);
    const auto again = pass(out.encode(), "application/x-protobuf");
    EXPECT_EQ(attribute(again, 1, "betrace.signature.leaf_index"), "1");
    EXPECT_EQ(attribute(again, 1, "betrace.signature.status"), "logged");
  }
  EXPECT_EQ(counted("signed_before"), 4);
  EXPECT_EQ(metrics.evidence_leaves.Value(), 2);
  auto spoiled = out.encode();
  spoiled.replace(spoiled.find("second"), 6, "sekond");
  const auto flagged = pass(spoiled, "application/x-protobuf");
  EXPECT_EQ(attribute(flagged, 0, "betrace.signature.status"), "logged");
  EXPECT_EQ(attribute(flagged, 1, "betrace.signature.status"), "signing_failed");
  EXPECT_EQ(attribute(flagged, 1, "betrace.signature.leaf_index"), "1");
  EXPECT_NE(warning.find("leaf 1 is another one"), std::string::npos) << warning;
}

TEST_F(OtlpIngestTest, AFlaggedPlaceStaysFlagged) {
  auto spoiled = pass(json_request(json_item("acme", "first"))).encode();
  spoiled.replace(spoiled.find("first"), 5, "worst");
  for (const bool log_only : {true, true, false}) {
    stream(log_only);
    const auto out = pass(spoiled, "application/x-protobuf");
    EXPECT_EQ(attribute(out, 0, "betrace.signature.status"), "signing_failed");
    EXPECT_EQ(attribute(out, 0, "betrace.signature.leaf_index"), "0");
    spoiled = out.encode();
  }
  EXPECT_EQ(metrics.evidence_leaves.Value(), 1);
}

TEST_F(OtlpIngestTest, APlaceIsTakenWithTheNameOfThisLogAndWithNothingElse) {
  const auto out = pass(json_request(json_item("acme", "first")));
  const auto changed = [&](std::string_view name, std::optional<std::string_view> value) {
    auto other = OtlpRequest::decode(OtlpSignal::traces, OtlpEncoding::protobuf, out.encode());
    other->remove_attributes(0, name);
    if (value) other->set_attribute(0, name, *value);
    return attribute(pass(other->encode(), "application/x-protobuf"), 0,
                     "betrace.signature.status");
  };
  EXPECT_EQ(changed("betrace.signature.nothing", {}), "logged");
  EXPECT_EQ(changed("betrace.signature.log", "some-other-log/acme"), "signing_failed");
  EXPECT_NE(warning.find("its place is in the log 'some-other-log/acme', not in"),
            std::string::npos);
  EXPECT_EQ(changed("betrace.signature.log", {}), "signing_failed");
  EXPECT_EQ(changed("betrace.signature.leaf_index", {}), "signing_failed");
  EXPECT_EQ(changed("betrace.signature.key_id", "x"), "signing_failed");
  EXPECT_EQ(changed("betrace.signature.algorithm", "Ed25519"), "signing_failed");
}

TEST_F(OtlpIngestTest, WhatCameAttestedAndNobodyCanLookAtGoesOnAsItCame) {
  stream(false);
  const auto out = pass(json_request(json_item("acme", "first")));
  service = restart();
  stream(false);
  store.fail_next({.code = ErrorCode::store_unavailable, .message = "no disk"}, 100);
  const auto again = pass(out.encode(), "application/x-protobuf");
  EXPECT_EQ(again.encode(), out.encode());
  EXPECT_EQ(std::pair(counted("unverified"), counted("signing_failed")), std::pair(1., 0.));
  EXPECT_NE(warning.find("1 item came attested, could not be verified and went on as it was"),
            std::string::npos)
      << warning;
}

TEST_F(OtlpIngestTest, ASignatureByAKeyThatWasRevokedSinceStaysWhereTheLogProvesItOlder) {
  stream(false);
  const auto before = pass(json_request(json_item("acme", "before")));
  ASSERT_TRUE(slot->get().value()->publish());
  clock.advance(std::chrono::hours(1));
  const auto unproven = pass(json_request(json_item("acme", "unproven")));
  const auto key = KeyId::parse(attribute(before, 0, "betrace.signature.key_id")).value();
  ASSERT_TRUE(store.commit(call, {change::Transition{.key = key,
                                                     .from = KeyState::active,
                                                     .to = KeyState::revoked,
                                                     .at = clock.now(),
                                                     .reason = "lost"}}));
  service = restart();
  stream(false);
  const auto status = [&](const OtlpRequest& item) {
    return attribute(pass(item.encode(), "application/x-protobuf"), 0, "betrace.signature.status");
  };
  EXPECT_EQ(status(before), "signed");
  EXPECT_EQ(counted("signed_before"), 1);
  EXPECT_EQ(status(unproven), "signing_failed");
  EXPECT_NE(warning.find("nothing proves the span older than that"), std::string::npos) << warning;
}

TEST_F(OtlpIngestTest, WhatCannotBeSignedCarriesNothingButItsStatus) {
  auto item = json_item("nobody", "first");
  item.insert(item.size() - 2,
              R"(,{"key":"betrace.signature.key_id","value":{"stringValue":"x"}})");
  const auto out = pass(json_request(item));
  EXPECT_EQ(attribute(out, 0, "betrace.signature.status"), "signing_failed");
  EXPECT_EQ(attribute(out, 0, "betrace.signature.key_id"), "none");
}

TEST_F(OtlpIngestTest, LoggingNeedsTheTenantAndNoKey) {
  slot->get().value()->public_key().value();
  service = restart();
  stream(true);
  provider.fail_always(ErrorCode::kms_unavailable);
  const auto out = pass(json_request(json_item("acme", "first"), json_item("nobody", "second")));
  EXPECT_EQ(attribute(out, 0, "betrace.signature.status"), "logged");
  EXPECT_EQ(attribute(out, 1, "betrace.signature.status"), "signing_failed");
  EXPECT_EQ(counted("signing_failed"), 1);
  stream(false);
  EXPECT_EQ(
      attribute(pass(json_request(json_item("acme", "first"))), 0, "betrace.signature.status"),
      "signing_failed");
}

TEST_F(OtlpIngestTest, ABundleOfLoggedSpansIsProvenByItsTreeAlone) {
  sign(fmt::format(R"({{"span":{}}})", span("acme", "2026-01-01T00:00:00Z"))).value();
  pass(json_request(json_item("acme", "first"), json_item("acme", "second")));
  const auto head = archive->bundle_head(call, acme, {}, {}).value();
  const auto leaves = archive->leaves(acme, 0, 3, 1 << 20).value();
  const auto report_on = [&](const std::vector<std::string>& lines) {
    auto verifier = BundleVerifier::begin(head.line, {}).value();
    verifier.add(lines);
    return std::move(verifier).finish(false);
  };
  const auto good = report_on(leaves);
  EXPECT_TRUE(good.valid());
  EXPECT_EQ(std::pair(good.valid_spans, good.logged_spans), std::pair(3UL, 2UL));
  EXPECT_EQ(good.limits().size(), 4U);
  const auto spoil = [&](std::string_view from, std::string_view to) {
    auto lines = leaves;
    lines[2].replace(lines[2].find(from), from.size(), to);
    return report_on(lines);
  };
  const auto changed = spoil("second", "secund");
  EXPECT_FALSE(changed.valid());
  EXPECT_EQ(std::pair(changed.valid_spans, changed.logged_spans), std::pair(1UL, 0UL));
  EXPECT_FALSE(spoil("\"logged\"", "\"signed\"").valid());
  EXPECT_FALSE(spoil("\"logged\"", "\"unsigned\"").valid());
  EXPECT_FALSE(spoil(R"("otel")", R"("leafIndex":"2","otel")").valid());
  EXPECT_EQ(report_on({leaves[0], leaves[1]}).valid_spans, 1U);
}

}  // namespace
}  // namespace betrace::kms
