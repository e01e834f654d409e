#include "api/request_identity.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "base/crypto.h"

namespace betrace::kms {
namespace {

int lower_hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// False also for all zeros, which the W3C calls invalid.
bool read_hex(std::string_view text, std::span<std::uint8_t> out) {
  bool any = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = lower_hex_value(text[2 * i]);
    const int low = lower_hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
    any |= out[i] != 0;
  }
  return any;
}

}  // namespace

RequestIds::RequestIds() {
  std::array<std::uint8_t, sizeof seed_> bytes;
  random_bytes(bytes);
  std::memcpy(&seed_, bytes.data(), bytes.size());
}

std::string RequestIds::next() {
  // splitmix64: one to one, so that ids differ, and neighbours look unlike.
  auto x = seed_ + 0x9e3779b97f4a7c15U * (count_.fetch_add(1, std::memory_order_relaxed) + 1);
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27) * 0x94d049bb133111ebU;
  x ^= x >> 31;
  std::string id(15, '0');
  for (auto& c : id) {
    c = "0123456789abcdef"[x & 15];
    x >>= 4;
  }
  return id;
}

bool is_sane_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

TraceContext parse_traceparent(std::string_view text) {
  // version "-" trace-id "-" parent-id "-" flags; later versions may add to it.
  constexpr std::size_t size = 55;
  if (text.size() < size || text[2] != '-' || text[35] != '-' || text[52] != '-') return {};
  const auto version = text.substr(0, 2);
  if (lower_hex_value(version[0]) < 0 || lower_hex_value(version[1]) < 0 || version == "ff") {
    return {};
  }
  if (text.size() > size && (version == "00" || text[size] != '-')) return {};
  const int high_flags = lower_hex_value(text[53]);
  const int low_flags = lower_hex_value(text[54]);
  TraceContext trace;
  if (high_flags < 0 || low_flags < 0 || !read_hex(text.substr(3, 32), trace.trace_id) ||
      !read_hex(text.substr(36, 16), trace.span_id)) {
    return {};
  }
  trace.sampled = (low_flags & 1) != 0;
  return trace;
}

TraceContext read_trace(const Request& request) {
  constexpr std::size_t state_size_max = 512;
  auto trace = parse_traceparent(request.header("traceparent"));
  if (!trace.valid()) return trace;
  for (const auto& [name, value] : request.headers) {
    if (!std::ranges::equal(name, std::string_view("tracestate"), {},
                            [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; })) {
      continue;
    }
    if (!trace.state.empty() && !value.empty()) trace.state += ',';
    trace.state += value;
  }
  const auto printable = [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; };
  if (trace.state.size() > state_size_max || !std::ranges::all_of(trace.state, printable)) {
    trace.state.clear();
  }
  return trace;
}

}  // namespace betrace::kms
