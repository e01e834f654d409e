#include <atomic>

#include <gtest/gtest.h>

#include "unit/net/net_test_support.h"

namespace betrace::kms {
namespace {

using test::eventually;
using test::get;
using test::post;
using test::RawClient;
using test::Running;

TEST(HttpServer, AnswersABodyAndKeepsTheConnection) {
  Running running;
  RawClient client(running.port());
  for (int i = 0; i < 100; ++i) {
    const auto body = "body " + std::to_string(i);
    ASSERT_TRUE(client.send(post("/echo", body)));
    const auto answer = client.receive();
    ASSERT_EQ(answer.status, 200);
    ASSERT_EQ(answer.body, body);
    ASSERT_EQ(answer.header("connection"), "");
  }
  EXPECT_EQ(running.server->connections(), 1U);
}

TEST(HttpServer, ShowsTheRequestAsItWasSent) {
  Running running;
  RawClient client(running.port());
  client.send(post("/describe?limit=2&after=a%20b", "hello", "X-Mixed-Case:  padded \r\n"));
  EXPECT_EQ(client.receive().body,
            "POST /describe?limit=2&after=a%20b path=/describe query=limit=2&after=a%20b "
            "loopback=true tls=false\nHost=localhost\nContent-Length=5\nX-Mixed-Case=padded\n"
            "body=hello");
}

TEST(HttpServer, NamesTypeLengthAndDate) {
  Running running;
  RawClient client(running.port());
  client.send(post("/echo", "12345"));
  const auto answer = client.receive();
  EXPECT_EQ(answer.header("content-type"), "text/plain");
  EXPECT_EQ(answer.header("content-length"), "5");
  EXPECT_EQ(answer.header("date").size(), std::string("Tue, 15 Nov 1994 08:12:31 GMT").size());
  EXPECT_TRUE(answer.header("date").ends_with(" GMT"));
  EXPECT_EQ(answer.header("server"), "");
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  Running running;
  RawClient client(running.port());
  std::string requests;
  for (int i = 0; i < 200; ++i) requests += post("/echo", std::to_string(i));
  client.send(requests);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(client.receive().body, std::to_string(i));
}

TEST(HttpServer, AnswersWhatIsPipelinedBehindALateReply) {
  Running running;
  RawClient client(running.port());
  client.send(post("/later", "first") + post("/echo", "second"));
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
  running.application.release();
  EXPECT_EQ(client.receive().body, "first");
  EXPECT_EQ(client.receive().body, "second");
}

TEST(HttpServer, TakesARequestByteByByte) {
  Running running;
  RawClient client(running.port());
  for (const auto c : post("/echo", "slow but sure") + get("/describe")) {
    ASSERT_TRUE(client.send(std::string_view(&c, 1)));
  }
  EXPECT_EQ(client.receive().body, "slow but sure");
  EXPECT_EQ(client.receive().status, 200);
}

TEST(HttpServer, TakesAHeadThatOutgrowsItsFirstBuffer) {
  Running running;
  RawClient client(running.port());
  const std::string large(9000, 'v');
  client.send("POST /describe?q HTTP/1.1\r\nHost: localhost\r\nX-First: 1\r\n");
  client.send("X-Large: " + large + "\r\nContent-Length: 4\r\n\r\nbo");
  client.send("dy" + post("/echo", "next"));
  const auto body = client.receive().body;
  EXPECT_TRUE(body.starts_with("POST /describe?q path=/describe query=q")) << body;
  EXPECT_NE(body.find("X-First=1\nX-Large=" + large + "\nContent-Length=4\nbody=body"),
            std::string::npos);
  EXPECT_EQ(client.receive().body, "next");
}

TEST(HttpServer, TakesAndAnswersLargeBodies) {
  Running running;
  RawClient client(running.port());
  std::string body(1 << 20, 'b');
  body[77777] = 'c';
  client.send(post("/echo", body));
  EXPECT_EQ(client.receive().body, body);
  client.send(get("/bytes?5000000"));
  EXPECT_EQ(client.receive().body.size(), 5000000U);
}

TEST(HttpServer, TakesAChunkedBody) {
  Running running;
  RawClient client(running.port());
  const std::string head =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  client.send(head + "5\r\nhello\r\n6;ext=1\r\n, worl\r\n");
  client.send("1\r\nd\r\n0\r\nX-Trailer: ignored\r\n\r\n" + post("/echo", "next"));
  EXPECT_EQ(client.receive().body, "hello, world");
  EXPECT_EQ(client.receive().body, "next");

  std::string large = head;
  for (int i = 0; i < 20000; ++i) large += "3\r\nabc\r\n";
  client.send(large + "0\r\n\r\n");
  EXPECT_EQ(client.receive().body.size(), 60000U);
}

TEST(HttpServer, SaysContinueToThoseWhoWaitForIt) {
  Running running;
  RawClient client(running.port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
      "\r\n");
  EXPECT_EQ(client.receive().status, 100);
  client.send("abc");
  EXPECT_EQ(client.receive().body, "abc");
  client.send(post("/echo", "at once", "Expect: 100-continue\r\n"));
  EXPECT_EQ(client.receive().body, "at once");
}

TEST(HttpServer, AnswersHeadWithoutABody) {
  Running running;
  RawClient client(running.port());
  client.send("HEAD /bytes?100 HTTP/1.1\r\nHost: localhost\r\n\r\n" + post("/echo", "next"));
  const auto answer = client.receive(true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-length"), "100");
  EXPECT_EQ(client.receive().body, "next");
}

TEST(HttpServer, SendsNoLengthWhereThereIsNoBody) {
  Running running;
  RawClient client(running.port());
  client.send(get("/none") + post("/echo", "next"));
  const auto answer = client.receive();
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.header("content-length"), "");
  EXPECT_EQ(client.receive().body, "next");
}

TEST(HttpServer, AcceptsAGetWithABody) {
  Running running;
  RawClient client(running.port());
  client.send("GET /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(client.receive().body, "{}");
}

TEST(HttpServer, SpeaksHttp10) {
  Running running;
  RawClient once(running.port());
  once.send("GET /describe HTTP/1.0\r\n\r\n");
  const auto answer = once.receive();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("connection"), "close");
  EXPECT_TRUE(once.ended());

  RawClient kept(running.port());
  for (int i = 0; i < 2; ++i) {
    kept.send("GET /describe HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(kept.receive().header("connection"), "keep-alive");
  }
}

TEST(HttpServer, ClosesWhenTheClientAsks) {
  Running running;
  RawClient client(running.port());
  client.send(post("/echo", "bye", "Connection: close\r\n"));
  const auto answer = client.receive();
  EXPECT_EQ(answer.body, "bye");
  EXPECT_EQ(answer.header("connection"), "close");
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(eventually([&] { return running.server->connections() == 1; }));
}

TEST(HttpServer, TakesTheAbsoluteFormOfATarget) {
  Running running;
  RawClient client(running.port());
  client.send("GET http://localhost:80/describe?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(client.receive().body.starts_with(
      "GET http://localhost:80/describe?a=b path=/describe query=a=b"));
}

TEST(HttpServer, SkipsAnEmptyLineBeforeARequest) {
  Running running;
  RawClient client(running.port());
  client.send("\r\n" + post("/echo", "1") + "\r\n" + post("/echo", "2"));
  EXPECT_EQ(client.receive().body, "1");
  EXPECT_EQ(client.receive().body, "2");
}

TEST(HttpServer, HeadersOfTheApplicationCannotBreakOut) {
  Running running;
  RawClient client(running.port());
  client.send(get("/evil"));
  const auto answer = client.receive();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("x-injected"), "");
  EXPECT_EQ(answer.header("x-value"), "a  X-Injected: 1");
  EXPECT_EQ(answer.header("x-fine"), "yes");
  EXPECT_EQ(answer.header("content-length"), "0");
}

TEST(HttpServer, ADroppedReplyAnswers500) {
  Running running;
  RawClient client(running.port());
  client.send(get("/drop") + get("/throw") + post("/echo", "next"));
  EXPECT_EQ(client.receive().status, 500);
  EXPECT_EQ(client.receive().status, 500);
  EXPECT_EQ(client.receive().body, "next");
}

TEST(HttpServer, SurvivesClientsThatGoBeforeTheReply) {
  Running running;
  for (int i = 0; i < 20; ++i) {
    RawClient client(running.port());
    client.send(post("/later", std::string(100000, 'x')));
    ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
    if (i % 2 == 0) client.reset();
    running.application.release();
  }
  EXPECT_TRUE(eventually([&] { return running.server->connections() == 0; }));
  RawClient client(running.port());
  client.send(post("/echo", "still here"));
  EXPECT_EQ(client.receive().body, "still here");
}

TEST(HttpServer, AnswersFromAnotherThreadOnManyConnections) {
  Running running;
  std::atomic<bool> done = false;
  std::jthread releaser([&] {
    while (!done) {
      running.application.release();
      std::this_thread::yield();
    }
  });
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> clients;
    for (int c = 0; c < 8; ++c) {
      clients.emplace_back([&, c] {
        RawClient client(running.port());
        for (int i = 0; i < 200; ++i) {
          const auto body = std::to_string(c) + "/" + std::to_string(i);
          client.send(post(i % 3 == 0 ? "/echo" : "/later", body));
          if (client.receive().body == body) ++right;
        }
      });
    }
  }
  done = true;
  EXPECT_EQ(right, 8 * 200);
}

TEST(HttpServer, Serves64ConnectionsAtOnce) {
  Running running;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(std::make_unique<RawClient>(running.port()));
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 64; ++i) {
      clients[i]->send(post("/echo", std::to_string(round * 1000 + i)));
    }
    for (int i = 0; i < 64; ++i) {
      ASSERT_EQ(clients[i]->receive().body, std::to_string(round * 1000 + i));
    }
  }
  EXPECT_EQ(running.server->connections(), 64U);
}

TEST(HttpServer, ListensOnIPv6AndKnowsLoopbackThere) {
  Running running({.host = "localhost"});
  RawClient client(running.port());
  client.send(get("/describe"));
  EXPECT_NE(client.receive().body.find("loopback=true"), std::string::npos);
}

TEST(HttpServer, SaysWhyItCannotListen) {
  Running running;
  test::TestApplication application;
  const auto second = HttpServer::start({.port = running.port()}, application);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message,
            "cannot listen on 127.0.0.1:" + std::to_string(running.port()) +
                ": Address already in use; is another betrace-kms running? Set quarkus.http.port");

  const auto foreign = HttpServer::start({.host = "203.0.113.7", .port = 0}, application);
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("set quarkus.http.host"), std::string::npos);

  const auto nothing = HttpServer::start({.plain = false}, application);
  ASSERT_FALSE(nothing);
  EXPECT_NE(nothing.error().message.find("nothing to listen on"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
