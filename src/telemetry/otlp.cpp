#include "telemetry/otlp.h"

#include <algorithm>
#include <cstring>

#include "base/encoding.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

// A message of protobuf while it is being written; `field` is the number in the .proto file.
class Message {
 public:
  void number(unsigned field, std::uint64_t value) {
    varint(field << 3U);
    varint(value);
  }
  void fixed64(unsigned field, std::uint64_t value) {
    varint(field << 3U | 1U);
    for (unsigned shift = 0; shift < 64; shift += 8) {
      bytes_ += static_cast<char>(value >> shift & 0xffU);
    }
  }
  void fixed32(unsigned field, std::uint32_t value) {
    varint(field << 3U | 5U);
    for (unsigned shift = 0; shift < 32; shift += 8) {
      bytes_ += static_cast<char>(value >> shift & 0xffU);
    }
  }
  void bytes(unsigned field, std::string_view value) {
    varint(field << 3U | 2U);
    varint(value.size());
    bytes_ += value;
  }
  void text(unsigned field, std::string_view value) {
    if (is_valid_utf8(value)) return bytes(field, value);
    std::string clean(value);
    std::ranges::replace_if(
        clean, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
    bytes(field, clean);
  }
  void message(unsigned field, const Message& inner) { bytes(field, inner.bytes_); }
  template <std::size_t Size>
  void id(unsigned field, const std::array<std::uint8_t, Size>& value) {
    bytes(field, as_text(value));
  }
  std::string take() && { return std::move(bytes_); }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80U);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// AnyValue: string 1, bool 2, int 3, double 4.
struct WriteValue {
  Message& out;
  void operator()(const std::string& value) const { out.text(1, value); }
  void operator()(bool value) const { out.number(2, value ? 1 : 0); }
  void operator()(std::int64_t value) const { out.number(3, static_cast<std::uint64_t>(value)); }
  void operator()(double value) const {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    out.fixed64(4, bits);
  }
};

Message key_value(std::string_view key, const SpanValue& value) {
  Message any;
  std::visit(WriteValue{any}, value);
  Message pair;
  pair.text(1, key);
  pair.message(2, any);
  return pair;
}

Message encode(const SpanData& span) {
  constexpr unsigned status_error = 2;
  Message out;
  out.id(1, span.context.trace_id);
  out.id(2, span.context.span_id);
  if (!span.context.state.empty()) out.text(3, span.context.state);
  if (std::ranges::any_of(span.parent_id, [](auto byte) { return byte != 0; })) {
    out.id(4, span.parent_id);
  }
  out.text(5, span.name);
  out.number(6, static_cast<std::uint64_t>(span.kind));
  out.fixed64(7, static_cast<std::uint64_t>(span.begun_ns));
  out.fixed64(8, static_cast<std::uint64_t>(span.ended_ns));
  for (const auto& [key, value] : span.attributes) out.message(9, key_value(key, value));
  if (span.failed) {
    Message status;
    status.text(2, span.message);
    status.number(3, status_error);
    out.message(15, status);
  }
  out.fixed32(16, 1);  // flags: sampled
  return out;
}

}  // namespace

std::string encode_traces(const ResourceAttributes& resource,
                          std::span<const std::unique_ptr<SpanData>> spans) {
  Message attributes;
  for (const auto& [key, value] : resource) attributes.message(1, key_value(key, value));
  Message scope;
  scope.text(1, "betrace-kms");
  scope.text(2, version());
  Message scope_spans;
  scope_spans.message(1, scope);
  for (const auto& span : spans) scope_spans.message(2, encode(*span));
  Message resource_spans;
  resource_spans.message(1, attributes);
  resource_spans.message(2, scope_spans);
  Message request;
  request.message(1, resource_spans);
  return std::move(request).take();
}

}  // namespace betrace::kms
