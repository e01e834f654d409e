#include "core/service_seal.h"

#include "support/service_fixture.h"

namespace betrace::kms {
namespace {

struct ServiceSealTest : ServiceFixture {
  CallContext call = CallContext::system("test");
  SecretBytes secret = SecretBytes::random(32);
};

TEST_F(ServiceSealTest, OpensWhatItSealedAfterARestartToo) {
  const auto sealed = ServiceSeal(store, opener, clock).seal(call, "log", secret).value();
  EXPECT_TRUE(ServiceSeal(store, opener, clock).open(call, "log", sealed).value() == secret);
}

TEST_F(ServiceSealTest, RefusesAnotherPurposeAnotherStoreAndEveryChangedByte) {
  ServiceSeal seal(store, opener, clock);
  const auto sealed = seal.seal(call, "log", secret).value();
  EXPECT_EQ(seal.open(call, "else", sealed).error().code, ErrorCode::corrupt);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto changed = sealed;
    changed[i] ^= 1;
    EXPECT_EQ(seal.open(call, "log", changed).error().code, ErrorCode::corrupt);
    EXPECT_FALSE(seal.open(call, "log", ByteView(sealed).first(i)));
  }
  MemoryStore another;
  EXPECT_EQ(ServiceSeal(another, opener, clock).open(call, "log", sealed).error().code,
            ErrorCode::corrupt);
}

TEST_F(ServiceSealTest, AProviderThatIsAwayIsSaidAndTriedAgain) {
  ServiceSeal seal(store, opener, clock);
  provider.fail_always(ErrorCode::kms_unavailable);
  EXPECT_EQ(seal.seal(call, "log", secret).error().code, ErrorCode::kms_unavailable);
  provider.recover();
  EXPECT_TRUE(seal.seal(call, "log", secret));
}

}  // namespace
}  // namespace betrace::kms
