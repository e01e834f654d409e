// The requests, by what the published messages of OpenTelemetry make of them
// (tests/data/otlp/make_spans.py); the spans made of them are otlp_mapping_test's.
#include "base/otlp.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

using enum OtlpSignal;
using enum OtlpEncoding;
using namespace std::string_literals;

struct Payload {
  std::string name, protobuf, json;
  OtlpSignal signal;
  std::size_t items;
};

std::string unbase64(std::string_view text) {
  const auto bytes = base64_decode(text).value();
  return std::string(as_text(bytes));
}

std::vector<Payload> payloads() {
  std::vector<Payload> all;
  for (const auto& each : test::vectors("otlp/spans.json")) {
    all.push_back({.name = std::string(test::text_of(each, "name")),
                   .protobuf = unbase64(test::text_of(each, "protobuf")),
                   .json = std::string(test::text_of(each, "json")),
                   .signal = test::text_of(each, "signal") == "traces" ? traces : logs,
                   .items = each.at("items").to_number<std::size_t>()});
  }
  return all;
}

std::string refusal(OtlpSignal signal, OtlpEncoding encoding, std::string_view body) {
  const auto request = OtlpRequest::decode(signal, encoding, body);
  return request ? "accepted" : request.error().message;
}

std::string written(OtlpSignal signal, OtlpEncoding encoding, std::string_view body) {
  const auto request = OtlpRequest::decode(signal, encoding, body);
  EXPECT_TRUE(request) << request.error().message;
  return request ? request->encode() : "";
}

// Length-delimited field `number`, below 16.
std::string field(int number, std::string_view content) {
  EXPECT_LT(content.size(), 128U);
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())}.append(
      content);
}
// A request of traces with one span.
std::string around(std::string_view span) { return field(1, field(2, field(2, span))); }
std::string attribute(std::string_view name, std::string_view value) {
  return field(9, field(1, name) + field(2, value));
}
std::string json_span(std::string_view fields) {
  return fmt::format(R"({{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{}}}]}}]}}]}})", fields);
}
std::string json_value(std::string_view value) {
  return json_span(fmt::format(R"("attributes":[{{"key":"k","value":{}}}])", value));
}
std::string described(OtlpEncoding encoding, std::string_view body) {
  const auto request = OtlpRequest::decode(traces, encoding, body);
  if (!request) return request.error().message;
  const auto object = request->describe(0, "");
  return object ? boost::json::serialize(*object) : object.error().message;
}

TEST(Otlp, WhatIsReadFromProtobufIsWrittenAsItCame) {
  for (const auto& each : payloads()) {
    SCOPED_TRACE(each.name);
    EXPECT_TRUE(written(each.signal, protobuf, each.protobuf) == each.protobuf);
    EXPECT_EQ(OtlpRequest::decode(each.signal, protobuf, each.protobuf)->items(), each.items);
  }
}

TEST(Otlp, JsonOfARequestIsTheSameRequest) {
  for (const auto& each : payloads()) {
    SCOPED_TRACE(each.name);
    EXPECT_TRUE(written(each.signal, json, each.json) == each.protobuf);
  }
}

TEST(Otlp, EveryDoubleOfJsonIsTheOneThatWasWritten) {
  std::mt19937_64 random(3);
  for (int n = 0; n < 20'000; ++n) {
    const auto number = std::bit_cast<double>(random());
    if (!std::isfinite(number)) continue;
    const auto bytes =
        written(traces, json, json_value(fmt::format(R"({{"doubleValue":{}}})", number)));
    ASSERT_GE(bytes.size(), sizeof(number));
    double last = 0;  // the value is the last field of each message
    std::memcpy(&last, bytes.data() + bytes.size() - sizeof(last), sizeof(last));
    ASSERT_EQ(last, number);
  }
}

TEST(Otlp, FieldsOfLaterVersionsGoThrough) {
  const auto later = "\xc2\x3e\x05later"s + "\xc8\x3e\x07"s;  // fields 1000 and 1001
  for (const auto& body :
       {around(field(5, "name") + later), field(1, field(2, field(2, "") + later) + later),
        field(1, later) + later,
        around(field(9, field(1, "k") + field(2, field(1, "v") + later) + later)),
        around(field(11, later) + field(13, later) + field(15, later))}) {
    auto request = OtlpRequest::decode(traces, protobuf, body);
    ASSERT_TRUE(request);
    EXPECT_EQ(hex_encode(as_bytes(request->encode())), hex_encode(as_bytes(body)));
  }
  auto request = OtlpRequest::decode(traces, protobuf, around(later));
  request->set_attribute(0, "a", "b");
  EXPECT_EQ(request->encode(), around(attribute("a", field(1, "b")) + later));
}

TEST(Otlp, TwoRequestsOneBehindTheOtherAreOne) {
  for (const auto& each : payloads()) {
    const auto twice = OtlpRequest::decode(each.signal, protobuf, each.protobuf + each.protobuf);
    ASSERT_TRUE(twice) << each.name;
    EXPECT_EQ(twice->items(), 2 * each.items) << each.name;
  }
}

TEST(Otlp, JsonMayBeWrittenInAnyOfItsWays) {
  const auto upper =
      json_span(R"("traceId":"5B8EFFF798038103D269B633813FC60C","startTimeUnixNano":1)");
  const auto lower =
      json_span(R"("traceId":"5b8efff798038103d269b633813fc60c","startTimeUnixNano":"1")");
  EXPECT_EQ(written(traces, json, upper), written(traces, json, lower));
  const auto request = OtlpRequest::decode(traces, json, upper);
  EXPECT_EQ(request->trace_id(0), "5b8efff798038103d269b633813fc60c");
  EXPECT_EQ(request->span_id(0), "");
  EXPECT_EQ(request->time(0), 1U);
  EXPECT_EQ(
      written(traces, json, json_span(R"("name":"a","unknown":{"x":[1,{"y":null}]},"kind":2)")),
      around(field(5, "a") + "\x30\x02"));
  EXPECT_EQ(written(traces, json, R"({"resourceSpans":null})"), "");
  EXPECT_EQ(described(json, json_value(R"({"intValue":"-12"})")),
            described(json, json_value(R"({"intValue":-12})")));
  EXPECT_EQ(described(json, json_value(R"({"intValue":9223372036854775807})")),
            R"({"signal":"span","attributes":{"k":{"int":"9223372036854775807"}}})");
  EXPECT_EQ(described(json, json_value(R"({"doubleValue":"-Infinity"})")),
            R"({"signal":"span","attributes":{"k":{"double":"-Infinity"}}})");
  EXPECT_EQ(described(json, json_value(R"({"doubleValue":3})")),
            R"({"signal":"span","attributes":{"k":{"double":"3"}}})");
  EXPECT_EQ(described(json, json_value(R"({"bytesValue":"+/8A"})")),
            R"({"signal":"span","attributes":{"k":{"bytes":"+/8A"}}})");
}

TEST(Otlp, WhatIsNoRequestIsRefusedInWords) {
  const auto says = [](std::string_view body, std::string_view word, OtlpEncoding encoding = json) {
    const auto said = refusal(traces, encoding, body);
    EXPECT_NE(said.find(word), std::string::npos) << body << ": " << said;
  };
  says("", "JSON");
  says("[]", "object");
  says(R"({"resourceSpans":7})", "OTLP/JSON");
  says(R"({"resourceSpans":[]}x)", "more text after the value");
  says(R"({"resourceSpans":[],"resourceSpans":[]})", "twice");
  says(json_span(R"("traceId":"xyz")"), "traceId");
  says(json_span(R"("kind":"SPAN_KIND_SERVER")"), "OTLP/JSON");
  says(json_value(R"({"intValue":"9223372036854775808"})"), "OTLP/JSON");
  says(json_value(R"({"doubleValue":1e400})"), "range of a double");
  says(json_value(R"({"intValue":1,"stringValue":"a"})"), "OTLP/JSON");
  says("{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}", "JSON");
  says(json_value(std::string(40, '[') + std::string(40, ']')), "OTLP/JSON");
  says(std::string(200, '['), "nested too deeply");
  says("\x0a\x05", "protobuf", protobuf);
  says(around(field(5, "\xff")), "UTF-8", protobuf);
  EXPECT_EQ(refusal(traces, protobuf, ""), "accepted");  // a request without anything
}

TEST(Otlp, ARefusalWritesNothingToStandardError) {
  testing::internal::CaptureStderr();
  EXPECT_NE(refusal(traces, protobuf, around(field(5, "\xff"))), "accepted");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Otlp, ARequestThatWouldFillTheMemoryIsRefused) {
  // Empty messages, unknown fields and a group of them: two bytes each, and many more in memory.
  for (const auto& unit : {"\x0a\x00"s, "\x78\x00"s, "\x28\x00"s}) {
    std::string body;
    while (body.size() <= 2 * OtlpRequest::parts_max) body += unit;
    for (const auto& each : {body, "\x7b" + body + "\x7c"}) {
      const auto request = OtlpRequest::decode(traces, protobuf, each);
      ASSERT_FALSE(request);
      EXPECT_EQ(request.error().code, ErrorCode::payload_too_large);
    }
  }
  std::string body = R"({"resourceSpans":[{})";
  for (std::size_t n = 0; n < 2 * OtlpRequest::parts_max; ++n) body += ",{}";
  const auto said = refusal(traces, json, body + "]}");
  EXPECT_NE(said.find("too many values"), std::string::npos) << said;
}

TEST(Otlp, ALargeRequestOfFewPartsIsTaken) {
  std::string text(8U << 20, 'x');
  auto request = OtlpRequest::decode(traces, protobuf, around(""));
  request->set_attribute(0, "large", text);
  const auto body = request->encode();
  EXPECT_GT(body.size() / 2, OtlpRequest::parts_max);
  EXPECT_EQ(OtlpRequest::decode(traces, protobuf, body)->text_attribute(0, "large"), text);
}

TEST(Otlp, AttributesAreReadSetAndRemoved) {
  const auto body = around(attribute("a", field(1, "1")) + attribute("b.x", "\x18\x07") +
                           attribute("a", field(1, "2")) + attribute("c", field(1, "3")) +
                           attribute("b", field(1, "")));
  auto request = OtlpRequest::decode(traces, protobuf, body).value();
  EXPECT_TRUE(request.has_attribute(0, "b.x"));
  EXPECT_FALSE(request.has_attribute(0, "b."));
  EXPECT_EQ(request.text_attribute(0, "a"), "1");
  EXPECT_EQ(request.text_attribute(0, "b"), "");
  EXPECT_EQ(request.text_attribute(0, "b.x"), std::nullopt);  // it is a number
  request.set_attribute(0, "a", "new");  // both go: nobody shall find another one than we wrote
  EXPECT_EQ(request.encode(),
            around(attribute("b.x", "\x18\x07") + attribute("c", field(1, "3")) +
                   attribute("b", field(1, "")) + attribute("a", field(1, "new"))));
  request.remove_attributes(0, "b");
  EXPECT_EQ(request.encode(),
            around(attribute("c", field(1, "3")) + attribute("a", field(1, "new"))));
  request.remove_attributes(0, "");
  EXPECT_EQ(request.encode(), around(""));
}

TEST(Otlp, AValueOfAKindThatNobodyKnowsIsNotDescribedAsNothing) {
  EXPECT_EQ(described(protobuf, around(attribute("k", ""))),
            R"({"signal":"span","attributes":{"k":{}}})");
  const auto said = described(protobuf, around(attribute("k", "\x40\x01")));
  EXPECT_NE(said.find("none of string"), std::string::npos) << said;
}

TEST(Otlp, EveryTruncationIsReadOrRefused) {
  for (const auto& each : payloads()) {
    for (const auto& [encoding, body] :
         {std::pair(protobuf, &each.protobuf), std::pair(json, &each.json)}) {
      const auto step = 1 + body->size() / 2000;
      for (std::size_t n = 0; n < body->size(); n += step) {
        const auto request =
            OtlpRequest::decode(each.signal, encoding, std::string_view(*body).substr(0, n));
        EXPECT_FALSE(request && encoding == json);
      }
    }
  }
}

TEST(Otlp, AnswersAreThoseOfThePublishedMessages) {
  const auto document = boost::json::parse(test::data("otlp/spans.json"));
  const auto& answers = document.at("answers").as_array();
  EXPECT_EQ(otlp_response(traces, protobuf, "a word"),
            unbase64(std::string_view(answers[0].as_string())));
  EXPECT_EQ(otlp_response(logs, protobuf), "");
  EXPECT_EQ(otlp_response(traces, json), R"({"partialSuccess":{}})");
  EXPECT_EQ(otlp_response(traces, json, "a \"word\""),
            R"({"partialSuccess":{"rejectedSpans":"0","errorMessage":"a \"word\""}})");
  EXPECT_EQ(otlp_response(logs, json, "w"),
            R"({"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"w"}})");
  EXPECT_EQ(otlp_status(protobuf, 3, "no"), "\x08\x03\x12\x02no");
  EXPECT_EQ(otlp_status(json, 3, "no"), R"({"code":3,"message":"no"})");

  const auto read = read_otlp_response(unbase64(std::string_view(answers[1].as_string())));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->items, 5);
  EXPECT_EQ(read->message, "five of them");
  EXPECT_EQ(read_otlp_response("")->items, 0);
  EXPECT_FALSE(read_otlp_response("<html>"));
}

}  // namespace
}  // namespace betrace::kms
