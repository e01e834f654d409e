#include "evidence/checkpoint_push.h"

#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "support/fake_clock.h"
#include "support/scripted_http.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

TenantId tenant(std::string_view name) { return TenantId::parse(name).value(); }

class Taking final : public ScriptedHttp {
  Result<HttpAnswer> answer(const Seen& /*seen*/) override { return json(204, ""); }
};

class CheckpointPushTest : public ::testing::Test {
 protected:
  std::unique_ptr<CheckpointPush> push_to(const std::string& target) {
    return CheckpointPush::to(target, folder_.file("pushed"), http_, clock_, metrics_).value();
  }
  void publish(std::string_view of) {
    std::promise<bool> written;
    log_->append({{.tenant = tenant(of), .bytes = "leaf"}}, {},
                 [&](const auto& done) { written.set_value(done.has_value()); });
    ASSERT_TRUE(written.get_future().get());
    ASSERT_TRUE(log_->publish());
  }
  // Until all that is on its way got there.
  void until_sent(int count) {
    while (metrics_.evidence_pushes("sent").Value() < count) std::this_thread::yield();
  }
  std::string note_of(std::string_view of) const { return log_->published(tenant(of))->note; }

  TemporaryDirectory folder_;
  FakeClock clock_;
  Metrics metrics_{"fake"};
  Taking http_;
  std::unique_ptr<EvidenceLog> log_ =
      EvidenceLog::open({.folder = folder_.file("evidence")},
                        {.seal = {.seal = [](const SecretBytes& secret) -> Result<Bytes> {
                                    return Bytes(secret.expose().begin(), secret.expose().end());
                                  },
                                  .open = [](ByteView sealed) -> Result<SecretBytes> {
                                    return SecretBytes::copy_of(sealed);
                                  }},
                         .clock = clock_,
                         .metrics = metrics_})
          .value();
};

TEST_F(CheckpointPushTest, WhatDidNotGetThereBeforeARestartDoesAfterIt) {
  publish("acme");
  publish("..");
  {
    http_.add_trouble({.path = "/acme", .status = 503, .times = 1 << 30});
    const auto push = push_to("https://kept");
    push->push(log_->published(tenant("acme")).value());
    push->push(log_->published(tenant("..")).value());
    while (http_.count("/acme") < 2) std::this_thread::yield();
    until_sent(1);
  }
  Taking fresh;
  const auto push =
      CheckpointPush::to("https://kept", folder_.file("pushed"), fresh, clock_, metrics_).value();
  push->catch_up(*log_)->join();
  until_sent(2);
  ASSERT_EQ(fresh.seen().size(), 1U) << "the other one is there";
  EXPECT_EQ(fresh.seen().front().url, "https://kept/acme");
  EXPECT_EQ(fresh.seen().front().body, note_of("acme"));
}

// In the order of their names, so that what is sent of the first is sent when the last one is.
TEST_F(CheckpointPushTest, ATargetIsHandedOnceWhatItHasAndAnotherOneEverything) {
  publish("acme");
  struct Round {
    std::string target;
    int sent;
    std::size_t of_acme;
  };
  for (const auto& round :
       {Round{"https://kept", 2, 1}, Round{"https://kept", 3, 1}, Round{"https://other", 5, 2}}) {
    publish("zeta");
    const auto push = push_to(round.target);
    push->catch_up(*log_)->join();
    until_sent(round.sent);
    EXPECT_EQ(http_.count("/acme"), round.of_acme) << round.target;
  }
}

TEST_F(CheckpointPushTest, AnOlderCheckpointDoesNotReplaceTheOneThatWaits) {
  publish("acme");
  const auto older = log_->published(tenant("acme")).value();
  publish("acme");
  http_.add_trouble({.path = "", .status = 503, .times = 3});
  const auto push = push_to("https://kept");
  push->push(log_->published(tenant("acme")).value());
  while (http_.count("") < 2) std::this_thread::yield();
  push->push(older);
  until_sent(1);
  EXPECT_EQ(http_.seen().back().body, note_of("acme"));
}

TEST_F(CheckpointPushTest, WhatIsNoTargetIsRefused) {
  for (const auto* const target : {"", "folder", "file:relative", "ftp://kept"}) {
    EXPECT_FALSE(CheckpointPush::to(target, folder_.path(), http_, clock_, metrics_)) << target;
  }
}

}  // namespace
}  // namespace betrace::kms
