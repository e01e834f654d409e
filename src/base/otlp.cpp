#include "base/otlp.h"

#include <algorithm>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>
#include <google/protobuf/arena.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/util/json_util.h>

#include "base/encoding.h"
#include "base/json.h"
#include "base/otlp_items.h"
#include "base/otlp_size.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace json = boost::json;
namespace pb = google::protobuf;

constexpr std::size_t depth_max = 100;  // as protobuf's own limit

bool is_id(std::string_view name) {
  constexpr std::string_view names[] = {"traceId",  "spanId",  "parentSpanId",
                                        "trace_id", "span_id", "parent_span_id"};
  return std::ranges::find(names, name) != std::end(names);
}

// OTLP/JSON writes ids in hexadecimal where protobuf's JSON has base64. Names of fields are never
// the caller's own, so that whatever is called so is an id.
Status ids_as_base64(json::value& value) {
  if (auto* list = value.if_array()) {
    for (auto& each : *list) TRY(ids_as_base64(each));
  }
  if (auto* object = value.if_object()) {
    for (auto& member : *object) {
      auto* const text = member.value().if_string();
      if (text == nullptr || !is_id(member.key())) {
        TRY(ids_as_base64(member.value()));
        continue;
      }
      const auto bytes = hex_decode(*text);
      if (!bytes) {
        return fail(ErrorCode::invalid_argument,
                    fmt::format("{}: it is not hexadecimal", std::string_view(member.key())));
      }
      *text = base64_encode(*bytes);
    }
  }
  return {};
}

Status read_json(std::string_view body, pb::Message& message) {
  // An attribute is two parts, and its objects, key and text are four values.
  JsonDocument document;
  TRY(document.parse(
      body,
      {.depth_max = depth_max, .values_max = 2 * OtlpRequest::parts_max, .wide_numbers = true}));
  if (!document.root().is_object()) {
    return fail(ErrorCode::invalid_argument, "the body is not a JSON object");
  }
  TRY(ids_as_base64(document.root()));
  pb::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto status =
      pb::util::JsonStringToMessage(json::serialize(document.root()), &message, options);
  if (status.ok()) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("the body is not OTLP/JSON: {}",
                          std::string_view(status.message().data(), status.message().size())));
}

Status read(OtlpEncoding encoding, std::string_view body, pb::Message& message) {
  if (encoding == OtlpEncoding::json) return read_json(body, message);
  if (!has_at_most_parts(*message.GetDescriptor(), body, OtlpRequest::parts_max)) {
    return fail(ErrorCode::payload_too_large,
                fmt::format("the request has more than {} spans, attributes, values and the like",
                            OtlpRequest::parts_max));
  }
  const pb::LogSilencer quiet;  // what it would write on standard error is in our answer
  if (message.ParseFromArray(body.data(), static_cast<int>(body.size()))) return {};
  return fail(ErrorCode::invalid_argument,
              "the body is not an OTLP request in protobuf, or a text in it is not UTF-8");
}

std::string write(const pb::Message& message) { return message.SerializeAsString(); }

}  // namespace

struct OtlpRequest::State {
  pb::Arena arena;
  pb::Message* message = nullptr;
  std::vector<OtlpItem> items;
};

std::string_view to_string(OtlpSignal signal) {
  return signal == OtlpSignal::traces ? "traces" : "logs";
}

OtlpRequest::OtlpRequest(std::unique_ptr<State> state) : state_(std::move(state)) {}
OtlpRequest::OtlpRequest(OtlpRequest&& other) noexcept = default;
OtlpRequest& OtlpRequest::operator=(OtlpRequest&& other) noexcept = default;
OtlpRequest::~OtlpRequest() = default;

Result<OtlpRequest> OtlpRequest::decode(OtlpSignal signal, OtlpEncoding encoding,
                                        std::string_view body) {
  auto state = std::make_unique<State>();
  if (signal == OtlpSignal::traces) {
    auto* const request = pb::Arena::CreateMessage<otlp::ExportTraceServiceRequest>(&state->arena);
    TRY(read(encoding, body, *request));
    state->message = request;
    for (auto& resource : *request->mutable_resource_spans()) {
      for (auto& scope : *resource.mutable_scope_spans()) {
        for (auto& span : *scope.mutable_spans()) state->items.emplace_back(span);
      }
    }
  } else {
    auto* const request = pb::Arena::CreateMessage<otlp::ExportLogsServiceRequest>(&state->arena);
    TRY(read(encoding, body, *request));
    state->message = request;
    for (auto& resource : *request->mutable_resource_logs()) {
      for (auto& scope : *resource.mutable_scope_logs()) {
        for (auto& record : *scope.mutable_log_records()) state->items.emplace_back(record);
      }
    }
  }
  return OtlpRequest(std::move(state));
}

std::size_t OtlpRequest::items() const { return state_->items.size(); }

bool OtlpRequest::has_attribute(std::size_t item, std::string_view name) const {
  return state_->items[item].find(name) != nullptr;
}

std::optional<std::string_view> OtlpRequest::text_attribute(std::size_t item,
                                                            std::string_view name) const {
  const auto* const found = state_->items[item].find(name);
  if (found == nullptr || !found->value().has_string_value()) return std::nullopt;
  return found->value().string_value();
}

void OtlpRequest::set_attribute(std::size_t item, std::string_view name, std::string_view text) {
  auto& of = state_->items[item];
  of.remove([&](std::string_view key) { return key == name; });
  auto* const attribute = of.attributes().Add();
  attribute->set_key(std::string(name));
  attribute->mutable_value()->set_string_value(std::string(text));
}

void OtlpRequest::remove_attributes(std::size_t item, std::string_view prefix) {
  state_->items[item].remove([&](std::string_view key) { return key.starts_with(prefix); });
}

Result<json::object> OtlpRequest::describe(std::size_t item, std::string_view hidden,
                                           json::storage_ptr memory) const {
  return state_->items[item].describe(hidden, std::move(memory));
}

std::uint64_t OtlpRequest::time(std::size_t item) const { return state_->items[item].time(); }

std::string OtlpRequest::trace_id(std::size_t item) const {
  return hex_encode(as_bytes(state_->items[item].trace_id()));
}

std::string OtlpRequest::span_id(std::size_t item) const {
  return hex_encode(as_bytes(state_->items[item].span_id()));
}

std::string OtlpRequest::encode() const { return write(*state_->message); }

// --- answers ------------------------------------------------------------------------------------

std::string otlp_response(OtlpSignal signal, OtlpEncoding encoding, std::string_view warning) {
  if (encoding == OtlpEncoding::json) {
    json::object partial;
    if (!warning.empty()) {
      partial[signal == OtlpSignal::traces ? "rejectedSpans" : "rejectedLogRecords"] = "0";
      partial["errorMessage"] = warning;
    }
    return json::serialize(json::object{{"partialSuccess", partial}});
  }
  otlp::ExportResponse response;
  if (!warning.empty()) response.mutable_partial_success()->set_error_message(std::string(warning));
  return write(response);
}

std::string otlp_status(OtlpEncoding encoding, int code, std::string_view message) {
  if (encoding == OtlpEncoding::json) {
    return json::serialize(json::object{{"code", code}, {"message", message}});
  }
  otlp::RpcStatus status;
  status.set_code(code);
  status.set_message(std::string(message));
  return write(status);
}

std::optional<OtlpRejection> read_otlp_response(std::string_view protobuf) {
  const pb::LogSilencer quiet;
  otlp::ExportResponse response;
  if (!response.ParseFromArray(protobuf.data(), static_cast<int>(protobuf.size()))) return {};
  return OtlpRejection{.items = response.partial_success().rejected(),
                       .message = response.partial_success().error_message()};
}

}  // namespace betrace::kms
