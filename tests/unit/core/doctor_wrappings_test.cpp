// What doctor makes of the master keys that the store's keys are wrapped by.
#include "support/doctor_world.h"

namespace betrace::kms {
namespace {

TEST_F(DoctorRules, CountKeysThatAreWrappedElsewhere) {
  facts.store->holders.push_back({{"local", "local:ab", 12}, true});
  auto it = only("wrapped-elsewhere");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(holds(it.title, "12 keys"));
  EXPECT_TRUE(has(it, "betrace-kms migrate"));

  facts.store->holders.back() = {{"aws", "key-0", 5}, true};
  EXPECT_EQ(only("wrapped-elsewhere").severity, Severity::info);
  EXPECT_TRUE(diagnose(facts).healthy()) << "worth knowing, no illness";

  facts.store->holders.back() = {{"vault", "transit/a", 5}, false};
  it = only("wrapped-elsewhere");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_TRUE(holds(it.remedy.front(), "betrace.kms.previous-provider=vault"));
}

TEST_F(DoctorRules, TakeWhatTheSecondProviderWrapsForWellAndCountWhatItDoesNot) {
  facts.second = ProviderFacts{.probe = {.provider = "vault", .wraps_under = "transit/a"}};
  facts.store->holders.push_back({{"vault", "transit/a", 5}, true});
  EXPECT_TRUE(diagnose(facts).findings.empty());
  facts.second->probe.wraps_under = "";
  EXPECT_TRUE(diagnose(facts).findings.empty()) << "it has not answered yet";
  facts.second->probe.wraps_under = "transit/b";
  EXPECT_TRUE(holds(only("wrapped-elsewhere").evidence, "5 keys under vault transit/a"));

  facts.second->probe.wraps_under = "transit/a";
  facts.store->not_wrapped_twice = 3;
  const auto it = only("wrapped-once");
  EXPECT_EQ(it.severity, Severity::warning);
  EXPECT_TRUE(holds(it.title, "3 keys"));
  EXPECT_TRUE(has(it, "betrace-kms migrate"));
}

TEST_F(DoctorRules, SayOfWhichProviderTheySpeak) {
  facts.second =
      ProviderFacts{.probe = {.provider = "vault",
                              .calls = {{.operation = "decrypt",
                                         .error = Error{.code = ErrorCode::kms_unavailable,
                                                        .message = "connection refused"}}}}};
  const auto it = only("provider-unreachable");
  EXPECT_EQ(it.severity, Severity::critical);
  EXPECT_TRUE(it.title.ends_with("of the second provider"));
}

TEST_F(DoctorRules, NoticeAnAliasThatWasMoved) {
  facts.provider->probe.key->alias = "alias/betrace";
  EXPECT_TRUE(diagnose(facts).findings.empty());
  facts.store->holders.push_back({{"aws", "key-0", 5}, true});
  const auto it = only("alias-moved");
  EXPECT_TRUE(holds(it.title, "alias/betrace"));
  EXPECT_TRUE(holds(it.evidence, "5 keys under aws key-0"));
}

}  // namespace
}  // namespace betrace::kms
