#include <gtest/gtest.h>

#include "unit/net/net_test_support.h"

namespace betrace::kms {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::post;
using test::RawClient;
using test::Running;

TEST(HttpStop, FinishesWhatIsInFlightAndClosesWhatIsIdle) {
  Running running;
  RawClient idle(running.port());
  RawClient busy(running.port());
  idle.send(post("/echo", "done"));
  EXPECT_EQ(idle.receive().body, "done");
  busy.send(post("/later", "in flight"));
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));

  std::jthread stopper([&] { running.server->stop(20s); });
  EXPECT_TRUE(idle.ended());
  running.application.release();
  const auto answer = busy.receive();
  EXPECT_EQ(answer.body, "in flight");
  EXPECT_EQ(answer.header("connection"), "close");
  EXPECT_TRUE(busy.ended());
  busy.end_of_input();
}

TEST(HttpStop, ARequestHalfReadMayStillCome) {
  Running running;
  RawClient client(running.port());
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha");
  RawClient probe(running.port());
  probe.send(post("/echo", "both are accepted"));
  EXPECT_EQ(probe.receive().status, 200);

  std::jthread stopper([&] { running.server->stop(20s); });
  EXPECT_TRUE(probe.ended());
  client.send("lf");
  EXPECT_EQ(client.receive().body, "half");
}

TEST(HttpStop, CutsWhatIsLeftAfterTheGrace) {
  Running running;
  RawClient stuck(running.port());
  RawClient half(running.port());
  stuck.send(post("/later", "never answered in time"));
  half.send("POST /echo HTTP/1.1\r\n");
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
  running.server->stop(50ms);
  EXPECT_EQ(stuck.receive().status, 0);
  EXPECT_EQ(half.receive().status, 0);
  running.application.release();  // goes nowhere, harms nobody
}

TEST(HttpStop, AReplyMayOutliveTheServer) {
  Running running;
  RawClient client(running.port());
  client.send(post("/later", "kept"));
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
  running.server.reset();
  running.application.release();
}

TEST(HttpStop, RepliesThatComeWhileItStopsAreSentOrDropped) {
  for (int round = 0; round < 20; ++round) {
    Running running;
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 16; ++i) {
      clients.push_back(std::make_unique<RawClient>(running.port()));
      clients.back()->send(post("/later", "x"));
    }
    ASSERT_TRUE(eventually([&] { return running.application.waiting() == 16; }));
    std::jthread releaser([&] { running.application.release(); });
    running.server->stop(round % 2 == 0 ? 0ms : 100ms);
  }
}

TEST(HttpStop, LateConnectionsThatSayFarewellDoNotOutliveIt) {
  for (int round = 0; round < 30; ++round) {
    Running running({.head_timeout = 20ms});
    RawClient client(running.port());
    client.send("GET / HT");
    EXPECT_EQ(client.receive().status, 408);
  }
}

TEST(HttpStop, MayBeCalledTwice) {
  Running running;
  running.server->stop(0ms);
  running.server->stop(0ms);
  EXPECT_EQ(running.server->connections(), 0U);
}

TEST(HttpStop, UnderLoadEveryAcceptedRequestIsAnswered) {
  Running running;
  std::atomic<int> sent = 0;
  std::atomic<int> unanswered = 0;
  std::vector<std::jthread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&] {
      RawClient client(running.port());
      for (;;) {
        if (!client.send(post("/echo", "x"))) return;
        ++sent;
        const auto answer = client.receive();
        // A request that crosses the end of an idle connection may be repeated by the client.
        if (answer.status != 200) {
          ++unanswered;
          return;
        }
        if (answer.header("connection") == "close") return;
      }
    });
  }
  ASSERT_TRUE(eventually([&] { return sent > 2000; }));
  running.server->stop(20s);
  clients.clear();
  EXPECT_LE(unanswered, 8);
}

}  // namespace
}  // namespace betrace::kms
