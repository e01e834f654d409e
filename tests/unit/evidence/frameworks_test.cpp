#include "evidence/frameworks.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

Frameworks made(const std::vector<std::string>& more = {},
                Frameworks::Unknown unknown = Frameworks::Unknown::refuse) {
  return Frameworks::with(more, unknown).value();
}

TEST(FrameworksTest, ControlsOfTheSixFrameworksAreKnownInEveryUsualSpelling) {
  const auto frameworks = made();
  const std::pair<const char*, const char*> known[] = {
      {"soc2", "CC6_1"},       {"SOC 2", "CC6_1"},     {"PCI DSS", "8.3.6"},
      {"ISO 27001", "A.8.15"}, {"SOC2", "cc6.1"},      {"soc2", "CC9.2"},
      {"soc2", "A1.3"},        {"soc2", "PI1_5"},      {"soc2", "P6.7"},
      {"hipaa", "164.312(b)"}, {"hipaa", "164.312"},   {"hipaa", "164_312_a_2_iv"},
      {"hipaa", "164.404"},    {"gdpr", "Art_32"},     {"gdpr", "Article 5(1)(f)"},
      {"gdpr", "32"},          {"fedramp", "AU-2"},    {"fedramp", "AC-2(1)"},
      {"fedramp", "SC-51"},    {"pci-dss", "10.2.1"},  {"pci_dss", "Req 8.3.6"},
      {"PCI-DSS", "12"},       {"iso27001", "A.8.15"}, {"iso27001", "A_5_37"},
      {"iso27001", "9.2"},
  };
  for (const auto& [framework, control] : known) {
    const auto checked = frameworks.check(framework, control);
    EXPECT_TRUE(checked) << framework << " " << control << ": " << checked.error().message;
  }
}

TEST(FrameworksTest, OthersAreRefusedWithWhatIsAccepted) {
  const auto frameworks = made();
  const std::pair<const char*, const char*> unknown[] = {
      {"soc2", "CC6.9"},   {"soc2", "CC10.1"},     {"soc2", "CC6"},       {"soc2", "CC6.1.1"},
      {"soc2", ""},        {"soc2", "CC6.01"},     {"hipaa", "164.299"},  {"hipaa", "164.3120"},
      {"gdpr", "Art 100"}, {"fedramp", "ZZ-1"},    {"fedramp", "AU-17"},  {"pci-dss", "13.1"},
      {"pci-dss", "0"},    {"iso27001", "A.5.38"}, {"iso27001", "A.9.1"}, {"iso27001", "11.1"},
  };
  for (const auto& [framework, control] : unknown) {
    const auto checked = frameworks.check(framework, control);
    ASSERT_FALSE(checked) << framework << " " << control;
    EXPECT_NE(checked.error().message.find("is not one of framework"), std::string::npos);
    EXPECT_NE(checked.error().message.find("betrace.evidence.controls"), std::string::npos);
  }
  EXPECT_EQ(frameworks.check("sox", "404").error().message,
            "framework 'sox' is not known; accepted are soc2, hipaa, gdpr, fedramp, pci-dss, "
            "iso27001, and others by betrace.evidence.controls");
}

TEST(FrameworksTest, AUserAddsControlsAndFrameworks) {
  const auto frameworks = made({"acme:*", "soc2:CC6.9", "sox:404"});
  EXPECT_TRUE(frameworks.check("acme", "whatever"));
  EXPECT_TRUE(frameworks.check("soc2", "CC6_9"));
  EXPECT_TRUE(frameworks.check("soc2", "CC6_1"));
  EXPECT_TRUE(frameworks.check("SOX", "404"));
  EXPECT_FALSE(frameworks.check("sox", "302"));
  EXPECT_FALSE(frameworks.check("soc2", "CC6_10"));
}

TEST(FrameworksTest, WhatIsNoPairIsRefused) {
  for (const auto* bad : {"", "acme", "acme:", ":x", ":"}) {
    const auto frameworks = Frameworks::with({bad}, Frameworks::Unknown::refuse);
    ASSERT_FALSE(frameworks) << bad;
    EXPECT_NE(frameworks.error().message.find("FRAMEWORK:CONTROL"), std::string::npos);
  }
}

TEST(FrameworksTest, UnknownOnesPassWhereTheyAreAllowedTo) {
  const auto frameworks = made({}, Frameworks::Unknown::pass);
  EXPECT_TRUE(frameworks.check("sox", "404"));
  EXPECT_TRUE(frameworks.check("soc2", "CC99"));
}

}  // namespace
}  // namespace betrace::kms
