// Signed spans and the log behind them, and what readers of the log get.
#include "support/logged_evidence.h"

#include <thread>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/durable_file.h"
#include "base/json.h"
#include "base/json_note.h"

namespace betrace::kms {
namespace {

TEST_F(LoggedEvidence, EverySignedSpanIsALeafOfItsTenantAsItWasAnswered) {
  const auto answer =
      sign_all({span("acme", "2026-01-01T00:00:00Z"), "{}", span("other", "2026-01-02T00:00:00Z"),
                span("acme", "2026-01-03T00:00:00Z")});
  const auto note = archive->checkpoint(acme);
  ASSERT_TRUE(note) << note.error().message;
  const auto leaves = archive->leaves(acme, 0, 2, 1 << 20).value();
  EXPECT_EQ(leaves[0], std::string_view(*answer.items[0]));
  EXPECT_EQ(leaves[1], std::string_view(*answer.items[3]));
  EXPECT_EQ(archive->leaves(acme, 0, 2, 1).value().size(), 1U);
  EXPECT_EQ(metrics.evidence_leaves.Value(), 3);
  const auto found = archive->inclusion(acme, leaf_hash(as_bytes(leaves[1]))).value();
  EXPECT_EQ(found.index, 1U);
  EXPECT_EQ(archive->inclusion(acme, Digest{}).error().code, ErrorCode::not_found);
  EXPECT_EQ(archive->inclusion(acme, 2).error().code, ErrorCode::not_found);
  EXPECT_EQ(archive->leaves(acme, 0, 3, 1).error().code, ErrorCode::invalid_argument);

  // What came signed is in the log already.
  EXPECT_TRUE(sign(fmt::format(R"({{"span":{}}})", leaves[0])).value().items[0]);
  EXPECT_EQ(metrics.evidence_leaves.Value(), 3);
}

TEST_F(LoggedEvidence, ABundleHasTheLeavesOfItsPeriodAndThoseBetweenThem) {
  sign_all({span("acme", "2026-01-01T00:00:00Z"), span("acme", "2026-02-01T01:00:00+01:00"),
            span("acme", "2025-01-01T00:00:00Z"), span("acme", "2026-02-28T23:59:60Z"),
            span("acme", "2026-03-01T00:00:00.001Z")});
  const auto head = [&](const EvidenceArchive::Period& period) {
    return archive->bundle_head(call, acme, period, {}).value();
  };
  const auto all = head({});
  EXPECT_EQ(std::pair(all.begin, all.end), std::pair(0UL, 5UL));
  const auto february = head({at("2026-02-01T00:00:00Z"), at("2026-03-01T00:00:00.001Z")});
  EXPECT_EQ(std::pair(february.begin, february.end), std::pair(1UL, 4UL));
  const auto never = head({at("2020-01-01T00:00:00Z"), at("2020-01-02T00:00:00Z")});
  EXPECT_EQ(std::pair(never.begin, never.end), std::pair(5UL, 5UL));
  JsonDocument document, payload;
  ASSERT_TRUE(document.parse(february.line));
  const auto bytes = base64_decode(text_of(document.root().at("manifest"), "payload")).value();
  ASSERT_TRUE(payload.parse(as_text(bytes)));
  const auto& manifest = payload.root();
  EXPECT_EQ(text_of(manifest, "tenantId"), "acme");
  EXPECT_EQ(text_of(manifest, "from"), "2026-02-01T00:00:00.000Z");
  EXPECT_EQ(manifest.at("left").as_array().size(), 1U);
  EXPECT_EQ(manifest.at("right").as_array().size(), 1U);
  EXPECT_EQ(manifest.at("keys").as_array().size(), 1U);
  EXPECT_EQ(archive->bundle_head(call, acme, {}, 6).error().code, ErrorCode::invalid_argument);
}

TEST_F(LoggedEvidence, OneThatIsTooLongForTheLogSinksNoOther) {
  auto too_long = span("acme", "2026-01-02T00:00:00Z");
  too_long.insert(too_long.size() - 1, R"(,"more":")" + std::string(66'000, 'x') + '"');
  const auto answer = sign_all(
      {span("acme", "2026-01-01T00:00:00Z"), too_long, span("other", "2026-01-03T00:00:00Z")});
  EXPECT_TRUE(answer.items[0]);
  EXPECT_TRUE(answer.items[2]);
  ASSERT_FALSE(answer.items[1]);
  EXPECT_EQ(answer.items[1].error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(answer.items[1].error().message.starts_with("spans[1]: the signed span has 66"));
  EXPECT_EQ(metrics.evidence_leaves.Value(), 2);
  EXPECT_EQ(metrics.spans_refused.Value(), 1);
}

TEST_F(LoggedEvidence, WithoutItsLogNothingIsSigned) {
  slot.reset();
  ASSERT_TRUE(write_file(folder.path() + "/evidence/journal/00000000000000000000.journal", "?"));
  open_log();
  const auto answer = sign_all({span("acme", "2026-01-01T00:00:00Z")});
  ASSERT_FALSE(answer.items[0]);
  EXPECT_EQ(answer.items[0].error().code, ErrorCode::store_unavailable);
  EXPECT_NE(answer.items[0].error().message.find("evidence log"), std::string::npos);
  EXPECT_EQ(metrics.spans_signed.Value(), 0);
  EXPECT_EQ(metrics.spans_failed.Value(), 1);
}

TEST_F(LoggedEvidence, ALogThatSomebodyElseHasIsTakenWhenHeIsGone) {
  slot.reset();
  auto theirs = EvidenceLog::open({.folder = folder.path() + "/evidence"},
                                  {.seal = {}, .clock = clock, .metrics = metrics})
                    .value();
  open_log();
  EXPECT_FALSE(sign_all({span("acme", "2026-01-01T00:00:00Z")}).items[0]);
  theirs.reset();
  while (!slot->get()) std::this_thread::yield();
  EXPECT_TRUE(sign_all({span("acme", "2026-01-01T00:00:00Z")}).items[0]);
}

}  // namespace
}  // namespace betrace::kms
