// Keys past their time while the provider is down, and what ends their use at once.
#include "support/life_fixture.h"

namespace betrace::kms {
namespace {

struct StaleWindowTest : LifeFixture {
  StaleWindowTest() {
    create(acme);
    service_options.private_keys.stale = std::chrono::minutes(30);
    one = daemon("one");
    service = std::move(one->service);
    compromised = service->factory().successor_after_compromise(call, active(acme)).value();
    EXPECT_TRUE(sign(acme, "x"));
    provider.fail_always(ErrorCode::kms_unavailable);
    advance(service_options.private_keys.ttl + std::chrono::minutes(1));
  }
  ~StaleWindowTest() override { one->service = std::move(service); }
  // As daemons that beat all the time.
  void advance(std::chrono::milliseconds time) {
    clock.advance(time);
    EXPECT_TRUE(one->membership.beat());
  }

  std::unique_ptr<Daemon> one;
  std::optional<KeyRecord> compromised;  // made while the provider was there
};

TEST_F(StaleWindowTest, WhatIsSignedInItIsMarkedAndCounted) {
  const auto signature = sign(acme, "x");
  ASSERT_TRUE(signature) << signature.error().message;
  EXPECT_TRUE(signature->stale);
  EXPECT_EQ(metrics.stale_signatures.Value(), 1);
  advance(std::chrono::minutes(30));
  EXPECT_FALSE(sign(acme, "x")) << "the window is over";
  EXPECT_EQ(metrics.stale_signatures.Value(), 1);
}

TEST_F(StaleWindowTest, ARevocationByAnotherDaemonEndsIt) {
  ASSERT_TRUE(sign(acme, "x"));
  const auto key = active(acme);
  ASSERT_TRUE(store.commit(call, {change::Transition{.key = key.id,
                                                     .from = KeyState::active,
                                                     .to = KeyState::revoked,
                                                     .at = clock.now(),
                                                     .reason = "laptop lost"},
                                  change::AddKey{*compromised}}));
  ASSERT_TRUE(one->membership.beat());
  EXPECT_FALSE(sign(acme, "x")) << "the successor cannot be unwrapped, the revoked key is not used";
  provider.recover();
  clock.advance(std::chrono::seconds(2));
  ASSERT_TRUE(one->membership.beat());
  EXPECT_EQ(sign(acme, "x")->version, 2U);
}

TEST_F(StaleWindowTest, ADestructionEndsIt) {
  ASSERT_TRUE(sign(acme, "x"));
  auto destroyed = destroy(*one, acme);
  const auto refused = sign(acme, "x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::destroyed);
}

}  // namespace
}  // namespace betrace::kms
