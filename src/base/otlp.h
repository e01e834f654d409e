// OTLP/HTTP requests (https://opentelemetry.io/docs/specs/otlp/) as the rest of the tree sees them:
// read from protobuf or JSON, spans and log records found by their attributes, described as JSON,
// given further attributes, and written as protobuf with everything else as it came, fields of
// later versions included. Not synchronised.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>
#include <boost/json/storage_ptr.hpp>

#include "betrace/kms/result.h"

namespace betrace::kms {

enum class OtlpSignal : std::uint8_t { traces, logs };
enum class OtlpEncoding : std::uint8_t { protobuf, json };

std::string_view to_string(OtlpSignal signal);  // "traces", "logs"

class OtlpRequest {
 public:
  // Resources, scopes, spans, log records, events, links, attributes, their values, fields of later
  // versions: a part can be two bytes of a body, and 240 in memory.
  static constexpr std::size_t parts_max = 2'000'000;

  // Errors: invalid_argument; malformed_json, which of JSON are also twice `parts_max` values and a
  // field twice in an object; payload_too_large for a request of more than `parts_max` parts.
  static Result<OtlpRequest> decode(OtlpSignal signal, OtlpEncoding encoding,
                                    std::string_view body);
  OtlpRequest(OtlpRequest&& other) noexcept;
  OtlpRequest& operator=(OtlpRequest&& other) noexcept;
  ~OtlpRequest();

  std::size_t items() const;  // spans or log records
  // An attribute of the item itself; nothing when it has none of that name, or no string.
  bool has_attribute(std::size_t item, std::string_view name) const;
  std::optional<std::string_view> text_attribute(std::size_t item, std::string_view name) const;
  // Instead of all that it has of that name.
  void set_attribute(std::size_t item, std::string_view name, std::string_view text);
  void remove_attributes(std::size_t item, std::string_view prefix);

  // The item as docs/evidence-format.md describes it ("otel"), without attributes whose names begin
  // with `hidden`. Errors: invalid_argument for an attribute that is there twice, hidden or not,
  // for values nested too deep, and for those of a kind that only later versions know.
  Result<boost::json::object> describe(std::size_t item, std::string_view hidden,
                                       boost::json::storage_ptr memory = {}) const;
  // Of a span its start, of a log record its time, else when it was observed: nanoseconds since
  // 1970, 0 when it says none.
  std::uint64_t time(std::size_t item) const;
  std::string trace_id(std::size_t item) const;  // hexadecimal, empty when there is none
  std::string span_id(std::size_t item) const;

  // Protobuf. Two requests of a signal, one after the other, are one request.
  std::string encode() const;

 private:
  struct State;
  explicit OtlpRequest(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// An Export…ServiceResponse: all was taken, and perhaps a word on it.
std::string otlp_response(OtlpSignal signal, OtlpEncoding encoding, std::string_view warning = {});
// google.rpc.Status, as OTLP/HTTP answers what it refuses. `code`: google.rpc.Code.
std::string otlp_status(OtlpEncoding encoding, int code, std::string_view message);
// What an answer says that it did not take, and why. Nothing when it is no such answer.
struct OtlpRejection {
  std::int64_t items = 0;
  std::string message;
};
std::optional<OtlpRejection> read_otlp_response(std::string_view protobuf);

}  // namespace betrace::kms
