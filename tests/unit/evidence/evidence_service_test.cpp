#include "evidence/evidence_service.h"

#include <cstdlib>
#include <random>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/json.h"
#include "support/service_fixture.h"

namespace betrace::kms {
namespace {

class AllButForbidden final : public Authorizer {
 public:
  bool allow(const Principal&, std::string_view, std::string_view tenant) const override {
    return tenant != "forbidden";
  }
};

using Signed = Evidence::Items<Result<WipedString>>;
using Verified = Evidence::Items<Result<SpanVerdict>>;

class EvidenceTest : public ServiceFixture {
 protected:
  EvidenceTest() {
    create(acme);
    create(other);
  }
  std::unique_ptr<EvidenceService> evidence() {
    return std::make_unique<EvidenceService>(
        EvidenceParts{.keys = *service,
                      .signer = *service,
                      .authorizer = authorizer_,
                      .metrics = metrics,
                      .frameworks = Frameworks::with({}, Frameworks::Unknown::refuse).value(),
                      .create_tenant = creation});
  }
  static std::string span(std::string_view tenant, std::string_view more = "") {
    return fmt::format(R"({{"framework":"soc2","control":"CC6_1","tenantId":"{}",)"
                       R"("timestamp":"2026-11-26T22:00:00Z"{}}})",
                       tenant, more);
  }
  static std::string one(std::string_view span) { return fmt::format(R"({{"span":{}}})", span); }
  template <class... Spans>
  static std::string many(const Spans&... spans) {
    std::string list;
    ((list += (list.empty() ? "" : ",") + std::string(std::string_view(spans))), ...);
    return fmt::format(R"({{"spans":[{}]}})", list);
  }
  Result<Signed> sign(std::string_view document) {
    return wait<Signed>(
        [&](auto done) { evidence()->sign_spans(call, document, std::move(done)); });
  }
  Result<Verified> verify(std::string_view document) {
    return wait<Verified>(
        [&](auto done) { evidence()->verify_spans(call, document, std::move(done)); });
  }
  std::string signed_span(std::string_view tenant, std::string_view more = "") {
    const auto answer = sign(one(span(tenant, more)));
    return std::string(answer.value().items.front().value());
  }
  SpanVerdict verdict(std::string_view span) { return verify(one(span)).value().items[0].value(); }

  AllButForbidden authorizer_;
  decltype(EvidenceParts::create_tenant) creation;  // none
};

TEST_F(EvidenceTest, ASignedSpanVerifiesAndSaysByWhichKey) {
  const auto found = verdict(signed_span("acme", R"(,"metadata":{"n":1.50})"));
  EXPECT_TRUE(found.valid);
  EXPECT_EQ(found.message, "Signature valid");
  EXPECT_EQ(found.tenant, "acme");
  EXPECT_EQ(found.timestamp, "2026-11-26T22:00:00Z");
  EXPECT_EQ(found.key_state, KeyState::active);
  EXPECT_EQ(metrics.spans_signed.Value(), 1);
  EXPECT_EQ(metrics.spans_valid.Value(), 1);
}

TEST_F(EvidenceTest, OneBadSpanDoesNotSinkTheRestOfManyTenants) {
  const auto answer = sign(many(span("acme"), "7", span("nobody"), span("other"), "{}",
                                span("forbidden"), span("acme", R"(,"outcome":"failure")")));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->batch);
  const auto code = [&](std::size_t i) {
    return answer->items[i] ? "signed" : std::string(to_string(answer->items[i].error().code));
  };
  EXPECT_EQ(code(0), "signed");
  EXPECT_EQ(code(1), "invalid_argument");
  EXPECT_EQ(code(2), "tenant_not_found");
  EXPECT_EQ(code(3), "signed");
  EXPECT_EQ(answer->items[4].error().message,
            "spans[4]: framework: it is missing, and a compliance span needs it");
  EXPECT_EQ(code(5), "permission_denied");
  EXPECT_EQ(code(6), "signed");
  EXPECT_EQ(metrics.spans_refused.Value(), 3);
  EXPECT_EQ(metrics.spans_failed.Value(), 1);

  const auto verified = verify(many(*answer->items[0], *answer->items[3], *answer->items[6]));
  for (const auto& each : verified->items) EXPECT_TRUE(each->valid);
  EXPECT_EQ(verified->items[1]->tenant, "other");
}

TEST_F(EvidenceTest, ADocumentThatIsNoneIsRefusedAsAWhole) {
  const std::pair<std::string, const char*> bad[] = {
      {"", ""},
      {"[]", "the body is not an object"},
      {"{}", "the body needs either 'span' or 'spans'"},
      {R"({"span":{},"spans":[]})", "the body needs either 'span' or 'spans', not both"},
      {R"({"spans":{}})", "'spans' is not an array"},
      {R"({"spams":[]})", "the field 'spams' is not known here"},
      {R"({"span":{"a":1,"a":2}})", ""},
      {R"({"span":{"a":9007199254740992}})", ""},
      {R"({"span":{"a":"\ud800"}})", ""},
  };
  for (const auto& [document, reason] : bad) {
    for (const auto& error : {sign(document).error(), verify(document).error()}) {
      EXPECT_TRUE(error.message.starts_with(reason)) << error.message;
    }
  }
  std::string list = "{}";
  for (int i = 0; i < 1000; ++i) list += ",{}";
  EXPECT_EQ(sign(R"({"spans":[)" + list + "]}").error().message,
            "'spans' has 1001 items; at most 1000");
  const auto long_span = span("acme", R"(,"x":")" + std::string(1 << 20, 'x') + '"');
  EXPECT_EQ(sign(one(long_span)).error().code, ErrorCode::payload_too_large);
  EXPECT_TRUE(sign(many(long_span))->items[0]);
}

TEST_F(EvidenceTest, ASpanThatCameSignedIsAnsweredAsItIsOrRefused) {
  const auto first = signed_span("acme");
  EXPECT_EQ(std::string_view(*sign(one(first))->items[0]), first);
  EXPECT_EQ(metrics.spans_signed_before.Value(), 1);
  auto tampered = first;
  tampered.replace(tampered.find("CC6_1"), 5, "CC6_2");
  EXPECT_EQ(sign(one(tampered))->items[0].error().message,
            "span: signature: the span came signed, and is refused: Signature invalid or tampered");
  EXPECT_EQ(sign(one(R"({"signature":"x"})"))->items[0].error().code, ErrorCode::invalid_argument);
}

TEST_F(EvidenceTest, TheOlderFormOfAVerificationIsUnderstood) {
  JsonDocument whole;
  ASSERT_TRUE(whole.parse(signed_span("acme")));
  auto attributes = whole.root().as_object();
  const auto signature = attributes.at("signature");
  attributes.erase("signature");
  const boost::json::value older{{"spanAttributes", attributes}, {"signature", signature}};
  WipedString text;
  append_canonical_json(older, text);
  EXPECT_TRUE(verify(text)->items[0]->valid);
  attributes["control"] = "CC6_2";
  const boost::json::value tampered{{"spanAttributes", attributes}, {"signature", signature}};
  text.clear();
  append_canonical_json(tampered, text);
  EXPECT_FALSE(verify(text)->items[0]->valid);
}

TEST_F(EvidenceTest, AVerdictSaysWhyNot) {
  EXPECT_EQ(verdict(span("acme")).message, "Span is not signed");
  EXPECT_EQ(verdict(span("acme", R"(,"status":"signing_failed")")).message,
            "Span is not signed: its status is 'signing_failed'");
  const auto replaced = [](std::string text, std::string_view from, std::string_view to) {
    return text.replace(text.find(from), from.size(), to);
  };
  const auto good = signed_span("acme");
  EXPECT_EQ(verdict(replaced(good, "\"acme\"", "\"nobody\"")).message, "Unknown tenant");
  EXPECT_EQ(verdict(replaced(good, "\"acme\"", "\"other\"")).message,
            "Unknown key: the span's tenant has no such signing key, so key or tenant are "
            "another's");
  EXPECT_EQ(verdict(replaced(good, "\"status\":\"signed\"", "\"status\":\"unsigned\"")).message,
            "Malformed: status is not 'signed'");
  EXPECT_EQ(metrics.spans_valid.Value(), 0);
}

TEST_F(EvidenceTest, OldKeysVerifyAfterARotation) {
  const auto before = signed_span("acme");
  ASSERT_TRUE(wait<std::vector<KeyRecord>>(
      [&](auto done) { service->rotate(call, acme, std::move(done)); }));
  const auto after = signed_span("acme");
  EXPECT_TRUE(verdict(before).valid);
  EXPECT_EQ(verdict(before).key_state, KeyState::rotated);
  EXPECT_NE(verdict(before).key_id, verdict(after).key_id);
  EXPECT_TRUE(verdict(after).valid);
}

TEST_F(EvidenceTest, ATenantIsMadeForItsFirstSpanWhereThatIsAllowed) {
  std::vector<std::string> made;
  creation = [&](const CallContext& by, const TenantId& tenant, Done<TenantDescription> done) {
    made.push_back(tenant.str());
    if (tenant.str() == "full") return done(fail(ErrorCode::store_unavailable, "the disk is full"));
    service->create_tenant(by, tenant, std::move(done));
  };
  const auto answer = sign(many(span("fresh"), span("acme"), span("full"), span("fresh")));
  EXPECT_TRUE(answer->items[0]);
  EXPECT_TRUE(answer->items[1]);
  EXPECT_EQ(answer->items[2].error().code, ErrorCode::store_unavailable);
  EXPECT_TRUE(answer->items[3]);
  EXPECT_EQ(made, (std::vector<std::string>{"fresh", "full"}));
}

TEST_F(EvidenceTest, AnOutageOfTheProviderFailsTheSpansThatNeedItAndNoVerification) {
  const auto before = signed_span("acme");
  service = restart();
  provider.fail_always(ErrorCode::kms_unavailable);
  const auto answer = sign(many(span("acme"), span("other")));
  for (const auto& each : answer->items) {
    EXPECT_EQ(each.error().code, ErrorCode::kms_unavailable);
  }
  EXPECT_EQ(metrics.spans_failed.Value(), 2);
  EXPECT_TRUE(verdict(before).valid);
}

// In torture a hundred thousand.
TEST_F(EvidenceTest, NoRandomEditOfASignedSpanVerifies) {
  const int enough = std::getenv("BETRACE_TORTURE") != nullptr ? 100'000 : 5'000;
  std::mt19937 random(20261126);
  std::vector<std::string> spans;
  for (const auto* more : {"", R"(,"metadata":{"a":[1,2.5,"x"],"b":{}},"outcome":"success")",
                           R"(,"traceId":"0af7651916cd43dd8448eb211c80319c","zz":null)"}) {
    for (const auto* tenant : {"acme", "other"}) spans.push_back(signed_span(tenant, more));
  }
  const auto pick = [&](std::size_t size) { return random() % size; };
  int edits = 0, read = 0;
  while (edits < enough) {
    const auto& original = spans[pick(spans.size())];
    auto edited = original;
    switch (pick(5)) {
      case 0:
        edited[pick(edited.size())] ^= static_cast<char>(1 << pick(8));
        break;
      case 1:
        edited.erase(pick(edited.size()), 1 + pick(3));
        break;
      case 2:
        edited.insert(pick(edited.size()), 1, "0\"{},:a\\ "[pick(9)]);
        break;
      case 3: {  // a piece of another span's
        const auto& donor = spans[pick(spans.size())];
        const auto at = pick(std::min(edited.size(), donor.size()) - 8);
        edited.replace(at, 8, donor, at, 8);
        break;
      }
      default:
        std::swap(edited[pick(edited.size())], edited[pick(edited.size())]);
    }
    JsonDocument document;
    ++edits;
    if (!document.parse(edited)) continue;
    WipedString canonical;
    append_canonical_json(document.root(), canonical);
    if (std::string_view(canonical) == original) continue;
    ++read;
    const auto answer = verify(one(edited));
    ASSERT_TRUE(answer);
    EXPECT_FALSE(answer->items[0]->valid) << edited << "\nwas " << original;
  }
  EXPECT_GT(read, enough / 4);
}

}  // namespace
}  // namespace betrace::kms
