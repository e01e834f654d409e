#include "core/provider_calls.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <map>

#include <gtest/gtest.h>

#include "core/background_probe.h"
#include "support/fake_clock.h"
#include "support/fake_provider.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A fake whose operations can each be refused by themselves.
class PickyProvider final : public Provider {
 public:
  std::map<std::string, Error> refused;
  std::map<std::string, milliseconds> takes;
  std::atomic<int> encrypts{0}, decrypts{0}, generates{0}, describes{0};

  explicit PickyProvider(const FakeClock& clock) : clock_(clock) {}
  std::string_view name() const override { return "fake"; }
  std::string description() const override { return "picky"; }
  Result<DataKey> generate_data_key(const CallContext& call,
                                    const EncryptionContext& context) override {
    ++generates;
    if (auto error = begin("generate_data_key")) return std::unexpected(*error);
    return inner_.generate_data_key(call, context);
  }
  Result<Wrapping> encrypt(const CallContext& call, std::span<const std::uint8_t> plaintext,
                           const EncryptionContext& context) override {
    ++encrypts;
    if (auto error = begin("encrypt")) return std::unexpected(*error);
    return inner_.encrypt(call, plaintext, context);
  }
  Result<SecretBytes> decrypt(const CallContext& call, const Wrapping& wrapping,
                              const EncryptionContext& context) override {
    ++decrypts;
    if (auto error = begin("decrypt")) return std::unexpected(*error);
    return inner_.decrypt(call, wrapping, context);
  }
  Result<MasterKeyInfo> describe_key(const CallContext& call) override {
    ++describes;
    if (auto error = begin("describe_key")) return std::unexpected(*error);
    return inner_.describe_key(call);
  }
  void refuse(const std::string& operation, ErrorCode code = ErrorCode::kms_access_denied) {
    refused[operation] = Error{.code = code, .message = "no " + operation};
  }

 private:
  std::optional<Error> begin(const std::string& operation) {
    if (const auto took = takes.find(operation); took != takes.end()) clock_.advance(took->second);
    const auto found = refused.find(operation);
    return found == refused.end() ? std::nullopt : std::optional(found->second);
  }
  const FakeClock& clock_;
  FakeProvider inner_;
};

const ProbedCall* find(const ProbeReport& report, std::string_view operation) {
  const auto found = std::ranges::find(report.calls, operation, &ProbedCall::operation);
  return found == report.calls.end() ? nullptr : &*found;
}

struct Examination : testing::Test {
  FakeClock clock;
  PickyProvider provider{clock};
  ProbeReport examine() { return examine_provider(provider, clock, seconds(5)); }
};

TEST_F(Examination, TriesEachOfTheFourCalls) {
  const auto report = examine();
  ASSERT_EQ(report.calls.size(), 4U);
  for (const auto& call : report.calls) EXPECT_FALSE(call.error) << call.operation;
  EXPECT_EQ(report.key->key_id, "fake-master-key");
  EXPECT_EQ(report.wraps_under, "fake-master-key");
}

TEST_F(Examination, NamesExactlyTheCallThatIsRefused) {
  for (const auto* missing : {"generate_data_key", "encrypt", "decrypt", "describe_key"}) {
    provider.refused.clear();
    provider.refuse(missing);
    const auto report = examine();
    ASSERT_EQ(report.calls.size(), 4U);
    for (const auto& call : report.calls) {
      EXPECT_EQ(call.error.has_value(), call.operation == missing) << missing << call.operation;
    }
  }
}

TEST_F(Examination, TriesToDecryptWhereNothingCouldBeEncrypted) {
  provider.refuse("generate_data_key");
  provider.refuse("encrypt");
  EXPECT_FALSE(find(examine(), "decrypt")->error) << "an answer to nonsense is an answer";
  provider.refuse("decrypt");
  EXPECT_EQ(find(examine(), "decrypt")->error->code, ErrorCode::kms_access_denied);
}

TEST_F(Examination, TriesASlowCallAgainAndAgain) {
  provider.takes["encrypt"] = milliseconds(300);
  const auto report = examine();
  EXPECT_EQ(provider.encrypts, 5);
  EXPECT_EQ(find(report, "encrypt")->tries, 5);
  EXPECT_GE(find(report, "encrypt")->latency, milliseconds(300));
}

TEST(ExaminationThreads, RunSideBySide) {
  FakeProvider provider;
  std::barrier together(3);
  std::atomic<int> calls = 0;
  // Would wait for ever if one came after the other.
  provider.on_call([&](const CallContext&) {
    if (calls.fetch_add(1) < 3) together.arrive_and_wait();
  });
  const auto report = examine_provider(provider, system_clock(), seconds(5));
  EXPECT_EQ(report.calls.size(), 4U);
}

struct BackgroundProbeTest : testing::Test {
  FakeClock clock;
  PickyProvider provider{clock};
  BackgroundProbe probe{provider, clock, {}, {}};
};

TEST_F(BackgroundProbeTest, EncryptsAtTheStartAndEveryTenMinutesOnly) {
  for (int i = 0; i < 60; ++i) {
    EXPECT_FALSE(probe.run().error);
    clock.advance(seconds(10));
  }
  EXPECT_EQ(provider.encrypts, 1);
  EXPECT_EQ(provider.generates, 1);
}

TEST_F(BackgroundProbeTest, NamesARefusedEncryptWithoutCallingTheProviderDown) {
  provider.refuse("encrypt");
  const auto first = probe.run();
  EXPECT_FALSE(first.error);
  EXPECT_TRUE(find(first.report, "encrypt")->error);
  provider.refused.clear();
  EXPECT_FALSE(find(probe.run().report, "encrypt")->error) << "what was refused is tried again";
}

TEST_F(BackgroundProbeTest, TriesTheOthersAfterARefusal) {
  provider.refuse("describe_key");
  provider.refuse("generate_data_key");
  const auto outcome = probe.run();
  EXPECT_NE(outcome.error->message.find("no describe_key"), std::string::npos);
  EXPECT_TRUE(find(outcome.report, "generate_data_key")->error);
  EXPECT_FALSE(find(outcome.report, "encrypt")->error);
}

TEST_F(BackgroundProbeTest, AsksASilentProviderForNothingMore) {
  provider.refuse("describe_key", ErrorCode::kms_timeout);
  EXPECT_TRUE(probe.run().error);
  EXPECT_EQ(provider.generates + provider.encrypts + provider.decrypts, 0);
}

TEST_F(BackgroundProbeTest, KeepsTheShortestOfThreeTriesInARow) {
  provider.takes["describe_key"] = milliseconds(300);
  for (const int tries : {1, 2, 3, 3}) {
    const auto report = probe.run().report;
    EXPECT_EQ(find(report, "describe_key")->tries, tries);
    EXPECT_GE(find(report, "describe_key")->latency, milliseconds(300));
  }
  provider.takes.clear();
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT(find(probe.run().report, "describe_key")->latency, milliseconds(300));
  }
  provider.takes["describe_key"] = milliseconds(300);
  EXPECT_LT(find(probe.run().report, "describe_key")->latency, milliseconds(300)) << "by chance";
}

}  // namespace
}  // namespace betrace::kms
