#include "base/otlp_items.h"

#include <cmath>
#include <unordered_set>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>
#include <google/protobuf/unknown_field_set.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;
using Attributes = google::protobuf::RepeatedPtrField<otlp::KeyValue>;

// A value is two levels of JSON, and those of an event or a link begin at the sixth: with twelve
// the span can still be read back, also in a batch of spans to be verified (JsonLimits::depth_max).
constexpr int depth_max = 12;

std::string text_of(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
  WipedString text;
  append_canonical_json(json::value(number), text);
  return std::string(text);
}

// Fields that say nothing are left out, as protobuf leaves them out.
class Description {
 public:
  explicit Description(json::storage_ptr memory) : object_(std::move(memory)) {}

  Description& text(std::string_view name, std::string_view value) {
    if (!value.empty()) object_.emplace(name, value);
    return *this;
  }
  Description& id(std::string_view name, const std::string& bytes) {
    return text(name, hex_encode(as_bytes(bytes)));
  }
  Description& nanoseconds(std::string_view name, std::uint64_t value) {
    return text(name, value == 0 ? "" : std::to_string(value));
  }
  Description& number(std::string_view name, std::int64_t value) {
    if (value != 0) object_.emplace(name, value);
    return *this;
  }
  Description& value(std::string_view name, json::value value) {
    const bool empty = value.is_array()    ? value.get_array().empty()
                       : value.is_object() ? value.get_object().empty()
                                           : false;
    if (!empty) object_.emplace(name, std::move(value));
    return *this;
  }
  json::object take() { return std::move(object_); }

 private:
  json::object object_;
};

Result<json::object> describe_value(const otlp::AnyValue& value, int depth,
                                    const json::storage_ptr& memory);

Result<json::object> describe_attributes(const Attributes& attributes, std::string_view hidden,
                                         int depth, const json::storage_ptr& memory) {
  json::object described(memory);
  std::unordered_set<std::string_view> hidden_keys;
  for (const auto& each : attributes) {
    const bool is_first =
        !hidden.empty() && each.key().starts_with(hidden)
            ? hidden_keys.insert(each.key()).second
            : described.emplace(each.key(), TRY(describe_value(each.value(), depth, memory)))
                  .second;
    if (!is_first) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("the attribute '{}' is there twice", each.key()));
    }
  }
  return described;
}

Result<json::object> describe_value(const otlp::AnyValue& value, int depth,
                                    const json::storage_ptr& memory) {
  json::object described(memory);
  if (depth > depth_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("a value is nested deeper than {}", depth_max));
  }
  switch (value.value_case()) {
    case otlp::AnyValue::kStringValue:
      described.emplace("string", value.string_value());
      break;
    case otlp::AnyValue::kBoolValue:
      described.emplace("bool", value.bool_value());
      break;
    case otlp::AnyValue::kIntValue:
      described.emplace("int", std::to_string(value.int_value()));
      break;
    case otlp::AnyValue::kDoubleValue:
      described.emplace("double", text_of(value.double_value()));
      break;
    case otlp::AnyValue::kBytesValue:
      described.emplace("bytes", base64_encode(as_bytes(value.bytes_value())));
      break;
    case otlp::AnyValue::kArrayValue: {
      json::array list(memory);
      for (const auto& each : value.array_value().values()) {
        list.emplace_back(TRY(describe_value(each, depth + 1, memory)));
      }
      described.emplace("array", std::move(list));
      break;
    }
    case otlp::AnyValue::kKvlistValue:
      described.emplace(
          "kvlist", TRY(describe_attributes(value.kvlist_value().values(), {}, depth + 1, memory)));
      break;
    case otlp::AnyValue::VALUE_NOT_SET:
      // Signed as one that says nothing, it could be made to say another thing.
      if (!value.GetReflection()->GetUnknownFields(value).empty()) {
        return fail(ErrorCode::invalid_argument,
                    "a value is none of string, bool, int, double, bytes, array and kvlist");
      }
      break;
  }
  return described;
}

Result<json::object> describe_span(const otlp::Span& span, std::string_view hidden,
                                   const json::storage_ptr& memory) {
  json::array events(memory), links(memory);
  for (const auto& each : span.events()) {
    events.emplace_back(
        Description(memory)
            .text("name", each.name())
            .nanoseconds("timeUnixNano", each.time_unix_nano())
            .value("attributes", TRY(describe_attributes(each.attributes(), {}, 0, memory)))
            .take());
  }
  for (const auto& each : span.links()) {
    links.emplace_back(
        Description(memory)
            .id("traceId", each.trace_id())
            .id("spanId", each.span_id())
            .value("attributes", TRY(describe_attributes(each.attributes(), {}, 0, memory)))
            .take());
  }
  return Description(memory)
      .text("signal", "span")
      .text("name", span.name())
      .number("kind", span.kind())
      .id("parentSpanId", span.parent_span_id())
      .nanoseconds("startTimeUnixNano", span.start_time_unix_nano())
      .nanoseconds("endTimeUnixNano", span.end_time_unix_nano())
      .value("attributes", TRY(describe_attributes(span.attributes(), hidden, 0, memory)))
      .value("events", std::move(events))
      .value("links", std::move(links))
      .value("status", Description(memory)
                           .number("code", span.status().code())
                           .text("message", span.status().message())
                           .take())
      .take();
}

Result<json::object> describe_record(const otlp::LogRecord& record, std::string_view hidden,
                                     const json::storage_ptr& memory) {
  return Description(memory)
      .text("signal", "log")
      .nanoseconds("timeUnixNano", record.time_unix_nano())
      .number("severityNumber", record.severity_number())
      .text("severityText", record.severity_text())
      .text("eventName", record.event_name())
      .value("body", TRY(describe_value(record.body(), 0, memory)))
      .value("attributes", TRY(describe_attributes(record.attributes(), hidden, 0, memory)))
      .take();
}

}  // namespace

Attributes& OtlpItem::attributes() const {
  return std::visit([](auto* of) -> Attributes& { return *of->mutable_attributes(); }, of_);
}

otlp::KeyValue* OtlpItem::find(std::string_view name) const {
  for (auto& each : attributes()) {
    if (each.key() == name) return &each;
  }
  return nullptr;
}

std::uint64_t OtlpItem::time() const {
  if (const auto* span = std::get_if<otlp::Span*>(&of_)) return (*span)->start_time_unix_nano();
  const auto& record = *std::get<otlp::LogRecord*>(of_);
  return record.time_unix_nano() != 0 ? record.time_unix_nano() : record.observed_time_unix_nano();
}

const std::string& OtlpItem::trace_id() const {
  return std::visit([](auto* of) -> const std::string& { return of->trace_id(); }, of_);
}

const std::string& OtlpItem::span_id() const {
  return std::visit([](auto* of) -> const std::string& { return of->span_id(); }, of_);
}

Result<json::object> OtlpItem::describe(std::string_view hidden, json::storage_ptr memory) const {
  if (const auto* span = std::get_if<otlp::Span*>(&of_)) {
    return describe_span(**span, hidden, memory);
  }
  return describe_record(*std::get<otlp::LogRecord*>(of_), hidden, memory);
}

}  // namespace betrace::kms
