#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "unit/net/net_test_support.h"

namespace betrace::kms {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using test::eventually;
using test::get;
using test::post;
using test::RawAnswer;
using test::RawClient;
using test::Running;

// The answer to `bytes`, which must also end the connection.
RawAnswer last_answer(std::uint16_t port, std::string_view bytes) {
  RawClient client(port);
  client.send(bytes);
  auto answer = client.receive();
  EXPECT_EQ(answer.header("connection"), "close") << bytes.substr(0, 200);
  client.end_of_input();
  EXPECT_TRUE(client.ended()) << bytes.substr(0, 200);
  return answer;
}

TEST(HttpLimits, MalformedHeadsAre400) {
  Running running;
  const std::vector<std::string> heads = {
      "GARBAGE\r\n\r\n",
      "GET /\r\n\r\n",
      "GE T / HTTP/1.1\r\nHost: a\r\n\r\n",
      "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n",
      "(GET) / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1x\r\nHost: a\r\n\r\n",
      "GET relative HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX-Folded: a\r\n b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX-Nul: a\0b\r\n\r\n"s,
      "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s,
      "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03 a TLS client hello \r\n\r\n",
  };
  for (const auto& head : heads) {
    const auto answer = last_answer(running.port(), head);
    EXPECT_EQ(answer.status, 400) << head;
    EXPECT_TRUE(answer.body.starts_with("malformed request head: ")) << answer.body;
  }
}

TEST(HttpLimits, AmbiguousLengthsAre400) {
  Running running;
  const std::vector<std::string> headers = {
      "Content-Length: 3\r\nContent-Length: 3\r\n",
      "Content-Length: 3\r\nContent-Length: 4\r\n",
      "Content-Length: 3, 3\r\n",
      "Content-Length: -3\r\n",
      "Content-Length: +3\r\n",
      "Content-Length: 0x3\r\n",
      "Content-Length: 3 3\r\n",
      "Content-Length: 99999999999999999999999\r\n",
      "Content-Length:\r\n",
      "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
      "Transfer-Encoding: gzip\r\n",
      "Transfer-Encoding: chunked, gzip\r\n",
      "Transfer-Encoding: xchunked\r\n",
  };
  for (const auto& each : headers) {
    const auto head = "POST /echo HTTP/1.1\r\nHost: a\r\n" + each + "\r\nabc";
    EXPECT_EQ(last_answer(running.port(), head).status, 400) << each;
  }
  EXPECT_EQ(last_answer(running.port(),
                        "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
                .status,
            400);
}

TEST(HttpLimits, MalformedChunksAre400) {
  Running running;
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const auto* chunks : {"x\r\n", "3\r\nabcde\r\n0\r\n\r\n", "-1\r\nabc\r\n", "3\nabc\r\n\r\n",
                             "fffffffffffffffff\r\n"}) {
    EXPECT_EQ(last_answer(running.port(), head + chunks).status, 400) << chunks;
  }
  EXPECT_EQ(last_answer(running.port(), head + "3;" + std::string(20000, 'e')).status, 400);
}

TEST(HttpLimits, AHeadTooLargeIs431) {
  Running running;
  const auto endless = "GET / HTTP/1.1\r\nHost: a\r\nX-Large: " + std::string(20000, 'x');
  EXPECT_EQ(last_answer(running.port(), endless).status, 431);
  const auto complete = get("/", "X-Large: " + std::string(16 * 1024, 'x') + "\r\n");
  EXPECT_EQ(last_answer(running.port(), complete).status, 431);
  EXPECT_EQ(last_answer(running.port(), "GET /" + std::string(20000, 'x')).status, 431);

  std::string many;
  for (int i = 0; i < 200; ++i) many += fmt::format("X-{}: 1\r\n", i);
  EXPECT_EQ(last_answer(running.port(), get("/", many)).status, 431);

  std::string in_pieces;
  for (int i = 0; i < 100; ++i) in_pieces += "X-Piece: " + std::string(200, 'x') + "\r\n";
  RawClient client(running.port());
  client.send("GET / HTTP/1.1\r\nHost: a\r\n");
  for (std::size_t at = 0; at < in_pieces.size() && client.send(in_pieces.substr(at, 211));) {
    at += 211;
  }
  EXPECT_EQ(client.receive().status, 431);
}

TEST(HttpLimits, AHeadJustUnderTheLimitIsServed) {
  Running running;
  RawClient client(running.port());
  const auto plain = get("/echo", "X-Large: \r\n").size();
  client.send(get("/echo", "X-Large: " + std::string(16 * 1024 - plain, 'x') + "\r\n"));
  EXPECT_EQ(client.receive().status, 200);
}

TEST(HttpLimits, ABodyTooLargeIs413BeforeItIsRead) {
  Running running;
  const auto answer =
      last_answer(running.port(), "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n");
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.body, "the body has 17 bytes; at most 16 are accepted here");
  EXPECT_EQ(last_answer(running.port(),
                        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n"
                        "Expect: 100-continue\r\n\r\n")
                .status,
            413);
  RawClient client(running.port());
  client.send(post("/small", "sixteen bytes ok"));
  EXPECT_EQ(client.receive().body, "sixteen bytes ok");
}

TEST(HttpLimits, AChunkedBodyTooLargeIs413) {
  Running running;
  const std::string head = "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(last_answer(running.port(), head + "ffffffff\r\n").status, 413);
  std::string pieces;
  for (int i = 0; i < 17; ++i) pieces += "1\r\nx\r\n";
  EXPECT_EQ(last_answer(running.port(), head + pieces).status, 413);
}

TEST(HttpLimits, AClientThatGoesOnSendingStillReadsItsRefusal) {
  Running running;
  RawClient client(running.port());
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
  const std::string piece(100000, 'x');
  for (int i = 0; i < 30; ++i) client.send(piece);
  EXPECT_EQ(client.receive().status, 413);
}

TEST(HttpLimits, ASlowHeadIs408) {
  Running running({.head_timeout = 200ms});
  RawClient client(running.port());
  client.send("GET / HTTP/1.1\r\nHost: loc");
  const auto answer = client.receive();
  EXPECT_EQ(answer.status, 408);
  EXPECT_EQ(answer.header("connection"), "close");
  EXPECT_EQ(answer.body, "the head of the request did not arrive in time");
  EXPECT_TRUE(client.ended());
  EXPECT_TRUE(eventually([&] { return running.server->connections() == 0; }));
}

TEST(HttpLimits, DribblingDoesNotGainTime) {
  Running running({.head_timeout = 200ms});
  RawClient client(running.port());
  std::jthread dribble([&](std::stop_token stop) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Long: ");
    while (!stop.stop_requested() && client.send("x")) std::this_thread::sleep_for(20ms);
  });
  EXPECT_EQ(client.receive().status, 408);
}

TEST(HttpLimits, ASlowBodyIs408) {
  Running running({.body_timeout = 200ms});
  RawClient with_length(running.port());
  RawClient with_chunks(running.port());
  with_length.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  with_chunks.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf");
  EXPECT_EQ(with_length.receive().status, 408);
  EXPECT_EQ(with_chunks.receive().body, "the body of the request did not arrive in time");
}

TEST(HttpLimits, IdleConnectionsEndWithoutAWord) {
  Running running({.head_timeout = 200ms, .idle_timeout = 200ms});
  RawClient silent(running.port());
  EXPECT_TRUE(silent.ended());
  RawClient used(running.port());
  used.send(post("/echo", "once"));
  EXPECT_EQ(used.receive().body, "once");
  EXPECT_TRUE(used.ended());
}

TEST(HttpLimits, ALateReplyIsNoReasonToHurry) {
  Running running({.head_timeout = 100ms, .body_timeout = 100ms, .idle_timeout = 100ms});
  RawClient client(running.port());
  client.send(post("/later", "patience"));
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
  std::this_thread::sleep_for(400ms);  // several sweeps find nothing to end
  running.application.release();
  EXPECT_EQ(client.receive().body, "patience");
}

TEST(HttpLimits, APeerThatDoesNotReadIsCut) {
  Running running({.write_timeout = 200ms});
  RawClient client(running.port());
  client.send(get("/bytes?50000000"));
  EXPECT_TRUE(eventually([&] { return running.server->connections() == 1; }));
  EXPECT_TRUE(eventually([&] { return running.server->connections() == 0; }));
}

TEST(HttpLimits, AHalfSentRequestIs400WhenTheClientIsDone) {
  Running running;
  for (const auto* half :
       {"GET / HT", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5"}) {
    RawClient client(running.port());
    client.send(half);
    client.end_of_input();
    const auto answer = client.receive();
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.body, "the request ends before it is complete");
  }
}

TEST(HttpLimits, TooManyConnectionsAre503) {
  Running running({.connections_max = 2});
  RawClient first(running.port());
  RawClient second(running.port());
  first.send(post("/echo", "1"));
  second.send(post("/echo", "2"));
  EXPECT_EQ(first.receive().body, "1");
  EXPECT_EQ(second.receive().body, "2");
  {
    RawClient third(running.port());
    third.send(post("/echo", "3"));
    const auto answer = third.receive();
    EXPECT_EQ(answer.status, 503);
    EXPECT_EQ(answer.header("retry-after"), "1");
    EXPECT_EQ(answer.header("connection"), "close");
  }
  first.send(post("/echo", "again"));
  EXPECT_EQ(first.receive().body, "again");
  ASSERT_TRUE(eventually([&] { return running.server->connections() == 2; }));
  first.reset();
  ASSERT_TRUE(eventually([&] { return running.server->connections() == 1; }));
  RawClient fourth(running.port());
  fourth.send(post("/echo", "4"));
  EXPECT_EQ(fourth.receive().body, "4");
}

// Not under the sanitizers: asan's check of vptrs needs descriptors of its own to look at memory.
#ifndef BETRACE_SANITIZED
TEST(HttpLimits, RecoversFromRunningOutOfDescriptors) {
  Running running;
  RawClient before(running.port());
  before.send(post("/echo", "before"));
  EXPECT_EQ(before.receive().body, "before");

  RawClient waiting_one(running.port());  // its descriptor here exists, the server's may not
  waiting_one.send(post("/echo", "x"));
  EXPECT_EQ(waiting_one.receive().body, "x");
  rlimit old{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  const int next = ::socket(AF_INET, SOCK_STREAM, 0);
  const rlimit few{.rlim_cur = static_cast<rlim_t>(next) + 1, .rlim_max = old.rlim_max};
  ::close(next);
  ::setrlimit(RLIMIT_NOFILE, &few);
  RawClient starved(running.port());
  starved.send(post("/echo", "served later"));
  before.send(post("/echo", "others go on"));
  EXPECT_EQ(before.receive().body, "others go on");
  ::setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(starved.receive().body, "served later");
}
#endif

}  // namespace
}  // namespace betrace::kms
