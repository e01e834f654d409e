// Bundles as the service makes them, and what becomes of them when somebody changes anything.
#include "evidence/bundle.h"

#include <algorithm>
#include <cstdlib>
#include <random>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "evidence/bundle_report.h"
#include "support/logged_evidence.h"

namespace betrace::kms {
namespace {

using Held = BundleReport::Held;
using Lines = std::vector<std::string>;

int edits_wanted(int few) { return std::getenv("BETRACE_TORTURE") != nullptr ? 100'000 : few; }

Lines lines_of(std::string_view text, bool& cut_off) {
  Lines lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    lines.emplace_back(text.substr(at, end - at));
    cut_off = end == text.size();
    at = end + 1;
  }
  return lines;
}

// Nothing: it is no bundle at all.
std::optional<BundleReport> report_on(std::string_view bundle, BundleTrust trust = {}) {
  bool cut_off = true;
  auto lines = lines_of(bundle, cut_off);
  if (lines.empty()) return std::nullopt;
  auto verifier = BundleVerifier::begin(lines.front(), std::move(trust));
  if (!verifier) return std::nullopt;
  lines.erase(lines.begin());
  verifier->add(lines);
  return std::move(*verifier).finish(cut_off);
}
bool is_valid(std::string_view bundle, BundleTrust trust = {}) {
  const auto report = report_on(bundle, std::move(trust));
  return report && report->valid();
}

class BundleTest : public LoggedEvidence {
 protected:
  void sign_some(int begin, int end, std::string_view tenant = "acme") {
    for (int i = begin; i < end; ++i) {
      sign(fmt::format(R"({{"span":{{"framework":"soc2","control":"CC6_{}","tenantId":"{}",)"
                       R"("timestamp":"2026-01-{:02}T00:00:00Z","outcome":"{}","n":{}}}}})",
                       1 + i % 3, tenant, 1 + i % 28, i % 2 == 0 ? "success" : "failure", i))
          .value();
    }
  }
  std::string bundle(const TenantId& tenant, const EvidenceArchive::Period& period = {},
                     std::optional<std::uint64_t> held = {}) {
    const auto head = archive->bundle_head(call, tenant, period, held).value();
    auto text = head.line + "\n";
    if (head.begin == head.end) return text;
    const auto leaves = archive->leaves(tenant, head.begin, head.end, std::size_t{1} << 30).value();
    for (const auto& leaf : leaves) text += leaf + "\n";
    return text;
  }
  std::string checkpoint() { return archive->checkpoint(acme).value(); }
  void put_leaf(std::string leaf) {
    std::promise<void> done;
    slot->get().value()->append({{acme, std::move(leaf)}}, {},
                                [&](const auto&) { done.set_value(); });
    done.get_future().get();
  }
};

TEST_F(BundleTest, VerifiesWithItsCountsAndSaysWhatItCannotShow) {
  sign_some(0, 30);
  const auto report = report_on(bundle(acme)).value();
  EXPECT_TRUE(report.valid()) << report_text(report);
  EXPECT_EQ(report.spans, 30U);
  EXPECT_EQ(report.by_control.at({"soc2", "CC6_1"}).all(), 10U);
  EXPECT_EQ(report.by_day.at("2026-01-01"), 2U);
  EXPECT_EQ(report.keys.front().spans, 30U);
  EXPECT_EQ(report.limits().size(), 3U);
  EXPECT_NE(report_text(report).find("VERIFIED: all 30 spans"), std::string::npos);
  EXPECT_NE(report_html(report).find("<td>CC6_2</td>"), std::string::npos);
  EXPECT_TRUE(boost::json::parse(report_json(report)).at("valid").as_bool());
}

TEST_F(BundleTest, OfEveryRangeAndSizeVerifies) {
  sign_some(0, 28);
  for (int from = 1; from <= 28; from += 3) {
    for (int to = from; to <= 28; to += 2) {
      const auto day = [&](int n) { return at(fmt::format("2026-01-{:02}T00:00:00Z", n)); };
      const auto report = report_on(bundle(acme, {.from = day(from), .to = day(to)})).value();
      EXPECT_TRUE(report.valid()) << from << ' ' << to << '\n' << report_text(report);
      EXPECT_EQ(report.spans, static_cast<std::uint64_t>(to - from));
    }
  }
}

TEST_F(BundleTest, ACheckpointThatIsHeldIsContinuedOrContradicted) {
  std::vector<std::string> held;
  for (int i = 0; i < 40; i += 10) {
    sign_some(i, i + 10);
    held.push_back(checkpoint());
  }
  const auto early = EvidenceArchive::Period{.from = at("2026-01-15T00:00:00Z"), .to = {}};
  const auto whole = bundle(acme), part = bundle(acme, early), linked = bundle(acme, early, 10);
  for (const auto& note : held) EXPECT_EQ(report_on(whole, {.held = note})->held, Held::consistent);
  EXPECT_EQ(report_on(part, {.held = held[0]})->held, Held::unproven);
  EXPECT_FALSE(is_valid(part, {.held = held[0]})) << "what was asked for was not shown";
  EXPECT_EQ(report_on(linked, {.held = held[0]})->held, Held::consistent);
  EXPECT_EQ(report_on(part, {.held = held[1]})->held, Held::consistent);

  // The same log key over another history.
  std::filesystem::remove_all(folder.path() + "/evidence/tenants/t-acme");
  slot.reset();
  std::filesystem::remove_all(folder.path() + "/evidence/journal");
  open_log();
  sign_some(5, 50);
  EXPECT_TRUE(is_valid(bundle(acme)));
  for (const auto& note : held) {
    const auto report = report_on(bundle(acme), {.held = note}).value();
    EXPECT_FALSE(report.valid());
    EXPECT_EQ(report.held, Held::contradicted);
  }
}

TEST_F(BundleTest, KeysThatTheVerifierKnowsMustBeTheBundles) {
  sign_some(0, 3);
  const auto text = bundle(acme);
  const auto key = service->service_key().public_half(call).value().bytes;
  const auto log_key = NoteKey::parse(archive->log_key().value()).value();
  const auto report = report_on(text, {.service_key = key, .log_key = log_key}).value();
  EXPECT_TRUE(report.valid() && report.service_key_pinned && report.log_key_pinned);
  EXPECT_FALSE(is_valid(text, {.service_key = Bytes(32, 1)}));
  EXPECT_FALSE(is_valid(text, {.log_key = NoteKey{.name = "other", .public_key = Bytes(32, 1)}}));
  EXPECT_FALSE(is_valid(text, {.held = "no note"}));
}

TEST_F(BundleTest, LeavesDroppedInsertedReorderedReplayedOrAnothersAreNoticed) {
  sign_some(0, 12);
  sign_some(0, 12, "other");
  const auto text = bundle(acme), theirs = bundle(other);
  bool cut = false;
  const auto lines = lines_of(text, cut), others = lines_of(theirs, cut);
  const auto joined = [](const Lines& all) {
    std::string whole;
    for (const auto& line : all) whole += line + "\n";
    return whole;
  };
  EXPECT_TRUE(is_valid(joined(lines)));
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto bad = lines;
    bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(is_valid(joined(bad))) << "dropped " << i;
    bad = lines;
    bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
    EXPECT_FALSE(is_valid(joined(bad))) << "replayed " << i;
    bad = lines;
    std::swap(bad[i], bad[1 + i % (lines.size() - 1)]);
    EXPECT_FALSE(is_valid(joined(bad))) << "swapped " << i;
    bad = lines;
    bad[i] = others[i];
    EXPECT_FALSE(is_valid(joined(bad))) << "another tenant's " << i;
    bad = Lines(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(is_valid(joined(bad))) << "truncated at " << i;
  }
  auto mixed = others;
  mixed.front() = lines.front();
  EXPECT_FALSE(is_valid(joined(mixed)));
  EXPECT_FALSE(is_valid(text.substr(0, text.size() - 1)));
}

TEST_F(BundleTest, StrippedSignaturesAndDowngradedStatusesAreNoticedEvenWhereTheTreeHasThem) {
  // Whoever has the log could put unsigned spans into it: they do not count as signed.
  sign_some(0, 3);
  checkpoint();
  auto span = archive->leaves(acme, 0, 1, 1 << 20).value().front();
  auto stripped = boost::json::parse(span).as_object();
  stripped.erase("signature");
  put_leaf(boost::json::serialize(stripped));
  auto failed = boost::json::parse(span).as_object();
  failed["status"] = "signing_failed";
  put_leaf(boost::json::serialize(failed));
  const auto report = report_on(bundle(acme)).value();
  EXPECT_EQ(report.problem_count, 2U) << report_text(report);
  EXPECT_EQ(report.valid_spans, 3U);
}

TEST_F(BundleTest, TimestampsWithAnyNumberOfDecimalsVerify) {
  const auto precise = "2026-01-01T00:00:00." + std::string(60, '7');
  sign_all({span("acme", precise + "Z"), span("acme", precise + "+01:00")});
  const auto report = report_on(bundle(acme)).value();
  EXPECT_TRUE(report.valid()) << report_text(report);
  EXPECT_EQ(report.last_time, "2026-01-01T00:00:00.777Z");
}

TEST_F(BundleTest, AKeyThatWasRevokedAtNoTimeProvesNothingAndIsReportedSo) {
  sign_some(0, 3);
  auto text = bundle(acme);
  const auto end = text.find('\n');
  auto head = boost::json::parse(text.substr(0, end));
  auto& payload = head.at("manifest").at("payload");
  const auto bytes = base64_decode(payload.as_string()).value();
  auto manifest = boost::json::parse(as_text(bytes));
  manifest.at("keys").at(0).as_object()["status"] = "REVOKED";
  payload = base64_encode(as_bytes(boost::json::serialize(manifest)));
  text.replace(0, end, boost::json::serialize(head));
  const auto report = report_on(text).value();
  EXPECT_EQ(report.valid_spans, 0U);
  const auto said = report_text(report) + report_html(report) + report_json(report);
  EXPECT_NE(said.find("REVOKED at 0000-01-01T00:00:00.000Z"), std::string::npos) << said;
}

TEST_F(BundleTest, RandomEditsNeverVerify) {
  sign_some(0, 8);
  put_leaf(R"({"control":"CC6_1","framework":"soc2","status":"logged","tenantId":"acme",)"
           R"("timestamp":"2026-01-09T00:00:00Z"})");
  checkpoint();
  sign_some(9, 14);
  const auto held = checkpoint();
  sign_some(14, 16);
  const Lines originals{bundle(acme), bundle(acme, {.from = at("2026-01-05T00:00:00Z")}, 14)};
  std::mt19937_64 random(7);
  const auto pick = [&](std::size_t size) { return random() % size; };
  int changed = 0;
  for (int edits = edits_wanted(3000); edits > 0; --edits) {
    const auto& original = originals[pick(originals.size())];
    auto edited = original;
    const auto place = pick(edited.size());
    switch (pick(5)) {
      case 0:
        edited[place] = static_cast<char>(edited[place] ^ 1 << pick(8));
        break;
      case 1:
        edited.erase(place, 1 + pick(40));
        break;
      case 2:
        edited.insert(place, 1, "0\"{},:aZ\n "[pick(10)]);
        break;
      case 3:
        edited.resize(place);
        break;
      default:
        edited.replace(place, 12, originals[pick(2)], pick(originals[0].size() / 2), 12);
    }
    if (edited == original) continue;
    ++changed;
    ASSERT_FALSE(is_valid(edited, {.held = held})) << edited;
  }
  EXPECT_GT(changed, 1000);
}

TEST_F(BundleTest, RandomEditsOfProofsAndCheckpointsNeverVerify) {
  sign_some(0, 20);
  const auto old_note = checkpoint();
  sign_some(20, 37);
  const auto key = NoteKey::parse(archive->log_key().value()).value();
  const auto found = archive->inclusion(acme, 11).value();
  const auto linked = archive->consistency(acme, 20).value();
  const auto root = Checkpoint::parse(open_note(found.checkpoint, key).value()).value().root;
  const auto old_root = Checkpoint::parse(open_note(old_note, key).value()).value().root;
  ASSERT_TRUE(verify_inclusion(11, 37, found.leaf, found.proof, root));
  ASSERT_TRUE(verify_consistency(20, old_root, 37, root, linked.proof));
  std::mt19937_64 random(11);
  const auto pick = [&](std::size_t size) { return random() % size; };
  const auto spoil = [&](std::vector<Digest> proof) {
    switch (pick(4)) {
      case 0:
        proof[pick(proof.size())][pick(32)] ^= static_cast<std::uint8_t>(1 << pick(8));
        return proof;
      case 1:
        proof.erase(proof.begin() + static_cast<std::ptrdiff_t>(pick(proof.size())));
        return proof;
      case 2:
        proof.insert(proof.begin() + static_cast<std::ptrdiff_t>(pick(proof.size())),
                     proof[pick(proof.size())]);
        return proof;
      default:
        std::swap(proof.front(), proof[1 + pick(proof.size() - 1)]);
        return proof;
    }
  };
  for (int edits = edits_wanted(20'000); edits > 0; --edits) {
    ASSERT_FALSE(verify_inclusion(11, 37, found.leaf, spoil(found.proof), root));
    ASSERT_FALSE(verify_consistency(20, old_root, 37, root, spoil(linked.proof)));
    auto note = old_note;
    note[pick(note.size())] ^= static_cast<char>(1 << pick(8));
    ASSERT_FALSE(open_note(note, key)) << note;
  }
}

}  // namespace
}  // namespace betrace::kms
