// Who asks, for which request, until when, under which trace: the first argument of every verb of
// KeyService, KeyStore and Provider, so that tokens, audit, deadlines and traces never change a
// signature. Cheap to copy.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>

namespace betrace::kms {

struct Principal {
  enum class Kind : std::uint8_t { anonymous, admin, system };
  Kind kind = Kind::system;
  std::string name = "system";
};

// W3C Trace Context. All zero when the caller sent none.
struct TraceContext {
  std::array<std::uint8_t, 16> trace_id{};
  std::array<std::uint8_t, 8> span_id{};
  bool sampled = false;
  std::string state;  // the header `tracestate`, handed on as it came

  bool valid() const { return trace_id != std::array<std::uint8_t, 16>{}; }
};

struct CallContext {
  Principal principal;
  std::string request_id;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token cancelled;
  TraceContext trace;

  // The service acting for itself, e.g. a probe or a refresh.
  static CallContext system(std::string request_id) {
    return {.request_id = std::move(request_id)};
  }
};

}  // namespace betrace::kms
