#include "net/exchange.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "unit/net/net_test_support.h"

namespace betrace::kms {
namespace {

// What a connection that gets `bytes` in pieces of at most `piece_max` makes of them: a line for
// each request, and the refusal that ended it.
std::vector<std::string> run(std::string_view bytes, std::size_t piece_max, std::mt19937& random) {
  test::TestApplication application;
  Exchange exchange(application, {.header_bytes_max = 4096});
  std::vector<std::string> seen;
  for (;;) {
    switch (exchange.advance({})) {
      case Progress::need_more: {
        if (bytes.empty()) return seen;
        const auto room = exchange.room();
        const auto count = std::min({room.size(), bytes.size(), 1 + random() % piece_max});
        std::memcpy(room.data(), bytes.data(), count);
        bytes.remove_prefix(count);
        exchange.received(count);
        break;
      }
      case Progress::continue_wanted:
        seen.emplace_back("continue");
        break;
      case Progress::refused:
        seen.emplace_back("refused: " + exchange.refusal().detail);
        return seen;
      case Progress::ready: {
        const auto& request = exchange.request();
        std::string line(request.method);
        line += " " + std::string(request.path) + "?" + std::string(request.query);
        for (const auto& [name, value] : request.headers) {
          line += "|" + std::string(name) + "=" + std::string(value);
        }
        seen.push_back(line + "|" + std::string(std::string_view(request.body)));
        exchange.answer(Response(), false);
        const auto closes = exchange.closes();
        exchange.finish();
        if (closes) return seen;
        break;
      }
    }
  }
}

std::string conversation() {
  return test::get("/a?b=c", "X-Long: " + std::string(3000, 'l') + "\r\n") +
         test::post("/sign", "0123456789") +
         "POST /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n10;x=\"y\"\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n" +
         test::post("/large", std::string(70000, 'b')) + "\r\n" +
         "HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n" + test::post("/empty", "");
}

TEST(Exchange, TheCutsBetweenPiecesChangeNothing) {
  std::mt19937 random(1);
  const auto bytes = conversation();
  const auto whole = run(bytes, bytes.size(), random);
  ASSERT_EQ(whole.size(), 6U);
  EXPECT_EQ(whole[1], "POST /sign?|Host=localhost|Content-Length=10|0123456789");
  EXPECT_EQ(whole[2], "POST /chunks?|Host=h|Transfer-Encoding=chunked|abc0123456789abcdef");
  for (const std::size_t piece_max : {1, 2, 3, 7, 61, 500, 3000, 40000}) {
    for (int round = 0; round < 10; ++round) ASSERT_EQ(run(bytes, piece_max, random), whole);
  }
}

TEST(Exchange, AlteredBytesAreRequestsOrRefusalsAndNothingElse) {
  std::mt19937 random(2);
  const auto bytes = conversation().substr(0, 4000);
  for (int round = 0; round < 5000; ++round) {
    auto altered = bytes;
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      const auto at = random() % altered.size();
      switch (random() % 3) {
        case 0:
          altered[at] = static_cast<char>(random());
          break;
        case 1:
          altered.erase(at, 1 + random() % 40);
          break;
        default:
          altered.insert(at, altered.substr(random() % altered.size(), 20));
          break;
      }
    }
    for (const auto& line : run(altered, 1 + random() % 2000, random)) ASSERT_FALSE(line.empty());
  }
}

TEST(Exchange, ALengthAloneTakesNoMemory) {
  test::TestApplication application;
  Exchange exchange(application, {});
  const std::string head = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1048576\r\n\r\n";
  std::memcpy(exchange.room().data(), head.data(), head.size());
  exchange.received(head.size());
  EXPECT_EQ(exchange.advance({}), Progress::need_more);
  EXPECT_LE(exchange.room().size(), 65536U);
}

TEST(Exchange, SaysContinueOnlyToThoseWhoWait) {
  std::mt19937 random(3);
  const std::string expecting =
      "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
  EXPECT_EQ(run(expecting, 4096, random), std::vector<std::string>{"continue"});
  EXPECT_EQ(run(expecting + "abc", 4096, random).size(), 1U);
}

}  // namespace
}  // namespace betrace::kms
