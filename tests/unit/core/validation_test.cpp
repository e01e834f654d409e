// What validation recommends: in the words of the provider at hand, never of another one.
#include "core/validation.h"

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/fake_provider.h"

namespace betrace::kms {
namespace {

class OfAVault final : public Remedies {
 public:
  Advice advise(const Trouble& trouble) const override {
    if (trouble.kind == TroubleKind::unreachable) return {};
    return {.cause = trouble.kind == TroubleKind::key_disabled ? "There is no such key"
                                                               : "The policy lacks a path"};
  }
  std::string permission(std::string_view operation) const override {
    return "update on transit/" + std::string(operation);
  }
};

class ValidationTest : public ::testing::Test {
 protected:
  std::string first_recommendation(Error error) {
    provider_.fail_next(std::move(error), 100);
    const auto report =
        run_validation(CallContext::system("test"), provider_, clock_, std::chrono::seconds(1));
    EXPECT_FALSE(report.passed());
    return report.recommendations.empty() ? "none" : report.recommendations.front();
  }
  const OfAVault remedies_;
  FakeProvider provider_;
  FakeClock clock_;
};

TEST_F(ValidationTest, ADenialNamesThePermissionAsTheProviderCallsIt) {
  provider_.advised_by(&remedies_);
  EXPECT_EQ(first_recommendation({.code = ErrorCode::kms_access_denied, .message = "denied"}),
            "generate_data_key: The policy lacks a path; it needs update on "
            "transit/generate_data_key (manual, Issue 1)");
}

TEST_F(ValidationTest, AKeyThatDoesNotExistIsNotToBeEnabled) {
  provider_.advised_by(&remedies_);
  EXPECT_EQ(first_recommendation({.code = ErrorCode::kms_key_disabled, .message = "not found"}),
            "generate_data_key: There is no such key (manual, Issue 2)");
}

TEST_F(ValidationTest, ThrottlingIsNoMatterOfTheNetwork) {
  provider_.advised_by(&remedies_);
  const auto words = first_recommendation(
      {.code = ErrorCode::kms_unavailable, .message = "rate exceeded", .throttled = true});
  EXPECT_TRUE(words.starts_with("generate_data_key: the KMS throttles; ")) << words;
  EXPECT_EQ(words.find("network"), std::string::npos);
}

TEST_F(ValidationTest, WhereTheProviderSaysNothingTheGeneralWordsStand) {
  provider_.advised_by(&remedies_);
  EXPECT_EQ(first_recommendation({.code = ErrorCode::kms_unavailable, .message = "refused"}),
            "generate_data_key: check the network path and the endpoint of the KMS (manual, Issue "
            "2)");
  provider_.recover();
  FakeProvider unadvised;
  unadvised.fail_next(ErrorCode::kms_access_denied, 100);
  const auto report =
      run_validation(CallContext::system("test"), unadvised, clock_, std::chrono::seconds(1));
  EXPECT_EQ(report.recommendations.front(),
            "generate_data_key: the master key's owner refuses the service (manual, Issue 1)");
}

}  // namespace
}  // namespace betrace::kms
