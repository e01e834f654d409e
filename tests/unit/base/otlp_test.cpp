// Requests as OpenTelemetry's own serialiser wrote them (tests/data/otlp/make_payloads.py).
#include "base/otlp.h"

#include <algorithm>
#include <random>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <gtest/gtest.h>

#include "support/vectors.h"

namespace betrace::kms {
namespace {

OtlpRequest read(OtlpSignal signal, OtlpEncoding encoding, std::string_view body) {
  auto request = OtlpRequest::decode(signal, encoding, body);
  EXPECT_TRUE(request) << request.error().message;
  return *std::move(request);
}

std::string payload(OtlpSignal signal, OtlpEncoding encoding) {
  return test::data(std::string("otlp/") + std::string(to_string(signal)) +
                    (encoding == OtlpEncoding::json ? ".json" : ".pb"));
}

std::string described(const OtlpRequest& request) {
  std::string all;
  for (std::size_t i = 0; i < request.items(); ++i) {
    all += boost::json::serialize(request.describe(i, "betrace.").value()) + "\n";
  }
  return all;
}

TEST(Otlp, JsonAndProtobufOfOneRequestSayTheSame) {
  for (const auto signal : {OtlpSignal::traces, OtlpSignal::logs}) {
    const auto binary =
        read(signal, OtlpEncoding::protobuf, payload(signal, OtlpEncoding::protobuf));
    const auto text = read(signal, OtlpEncoding::json, payload(signal, OtlpEncoding::json));
    EXPECT_GT(binary.items(), 1U);
    EXPECT_EQ(described(binary), described(text));
    EXPECT_EQ(binary.encode(), text.encode());
  }
}

TEST(Otlp, PassesThroughEveryByteOfWhatItDoesNotKnow) {
  for (const auto signal : {OtlpSignal::traces, OtlpSignal::logs}) {
    const auto body = payload(signal, OtlpEncoding::protobuf);
    EXPECT_EQ(read(signal, OtlpEncoding::protobuf, body).encode(), body);
    // A field 4000 of a later version, in the request and behind it.
    const std::string later("\x82\xfa\x01\x03xyz", 7);
    EXPECT_EQ(read(signal, OtlpEncoding::protobuf, body + later).encode(), body + later);
  }
}

TEST(Otlp, TwoRequestsOneBehindTheOtherAreOne) {
  const auto body = payload(OtlpSignal::traces, OtlpEncoding::protobuf);
  const auto one = read(OtlpSignal::traces, OtlpEncoding::protobuf, body);
  const auto two = read(OtlpSignal::traces, OtlpEncoding::protobuf, body + body);
  EXPECT_EQ(two.items(), 2 * one.items());
  EXPECT_EQ(described(two), described(one) + described(one));
}

TEST(Otlp, AttributesAreAddedReplacedAndRemoved) {
  auto request = read(OtlpSignal::traces, OtlpEncoding::protobuf,
                      payload(OtlpSignal::traces, OtlpEncoding::protobuf));
  const auto before = request.encode();
  const auto plain = described(request);
  request.set_attribute(0, "betrace.a", "1");
  request.set_attribute(0, "betrace.b", "2");
  request.set_attribute(0, "betrace.a", "3");
  EXPECT_EQ(request.text_attribute(0, "betrace.a"), "3");
  EXPECT_FALSE(request.has_attribute(1, "betrace.a"));
  EXPECT_EQ(described(request), plain) << "what is hidden is not described";
  request.remove_attributes(0, "betrace.");
  EXPECT_EQ(request.encode(), before);
}

TEST(Otlp, NoDamageCrashesIt) {
  std::mt19937 random(9);
  for (const auto signal : {OtlpSignal::traces, OtlpSignal::logs}) {
    for (const auto encoding : {OtlpEncoding::protobuf, OtlpEncoding::json}) {
      const auto body = payload(signal, encoding);
      for (int i = 0; i < 2000; ++i) {
        auto bad = i % 2 == 0 ? body.substr(0, random() % body.size()) : body;
        if (!bad.empty()) bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
        const auto request = OtlpRequest::decode(signal, encoding, bad);
        for (std::size_t n = 0; request && n < request->items(); ++n) {
          (void)request->describe(n, "betrace.");
        }
      }
    }
  }
}

TEST(Otlp, AnswersInTheEncodingOfTheRequest) {
  EXPECT_EQ(otlp_response(OtlpSignal::traces, OtlpEncoding::json), R"({"partialSuccess":{}})");
  EXPECT_EQ(otlp_response(OtlpSignal::logs, OtlpEncoding::json, "w"),
            R"({"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"w"}})");
  EXPECT_EQ(otlp_response(OtlpSignal::traces, OtlpEncoding::protobuf), "");
  EXPECT_EQ(
      read_otlp_response(otlp_response(OtlpSignal::traces, OtlpEncoding::protobuf, "w"))->message,
      "w");
  EXPECT_EQ(otlp_status(OtlpEncoding::json, 3, "no"), R"({"code":3,"message":"no"})");
  EXPECT_FALSE(read_otlp_response("\x0a\xff"));
}

}  // namespace
}  // namespace betrace::kms
