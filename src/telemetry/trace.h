// Spans of the service's own work, after OpenTelemetry's trace API: a Tracer starts them under a
// TraceContext, a Span collects what is to be told, and a SpanSink takes the finished ones. Off, or
// not sampled, a Span holds nothing and costs no allocation. A Tracer is thread-safe, a Span is
// not. Never hand a secret, payload or caller's context to a Span.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

// The numbers of OTLP.
enum class SpanKind : std::uint8_t { internal = 1, server = 2, client = 3 };

using SpanValue = std::variant<std::string, std::int64_t, double, bool>;

struct SpanData {
  std::string name;
  SpanKind kind = SpanKind::internal;
  TraceContext context;
  std::array<std::uint8_t, 8> parent_id{};                         // all zero: none
  std::int64_t begun_ns = 0, ended_ns = 0;                         // since 1970
  std::vector<std::pair<std::string_view, SpanValue>> attributes;  // names of static lifetime
  bool failed = false;
  std::string message;  // of a failed one
};

class SpanSink {
 public:
  virtual ~SpanSink() = default;
  // Must not block. Thread-safe.
  virtual void take(std::unique_ptr<SpanData> span) = 0;
};

// Which traces are recorded, as OTEL_TRACES_SAMPLER says. A value.
class Sampler {
 public:
  // always_on, always_off, traceidratio, and each with parentbased_ before it; `ratio` is for
  // traceidratio. Errors: invalid_argument says what is accepted.
  static Result<Sampler> parse(std::string_view name, double ratio);
  // `parent`: the caller's, all zero when there is none.
  bool sample(const TraceContext& parent, const std::array<std::uint8_t, 16>& trace_id) const;

 private:
  bool parent_based_ = true;
  bool all_ = true;          // whatever the bound
  std::uint64_t bound_ = 0;  // of the last eight bytes of the trace id, excluded
};

class Tracer;

class Span {
 public:
  Span() = default;
  Span(Span&&) = default;
  Span& operator=(Span&&) = default;
  ~Span() { end(); }

  bool recording() const { return data_ != nullptr; }
  // Under which the work of this span goes on.
  const TraceContext& context() const { return context_; }
  // `name` has static lifetime. Without effect when not recording.
  void set(std::string_view name, std::string_view value);
  void set(std::string_view name, std::int64_t value);
  // Of nothing that merely converts to bool, such as a literal.
  void set(std::string_view name, std::same_as<bool> auto value) {
    if (data_) data_->attributes.emplace_back(name, value);
  }
  // Marks it failed: `error`, `error.message`, status Error.
  void fail(std::string_view message);
  // Hands it to the sink, with `latency.ms`. Also when destroyed.
  void end();
  // As if it had never begun.
  void drop() { data_.reset(); }

 private:
  friend class Tracer;
  const Tracer* tracer_ = nullptr;
  std::chrono::steady_clock::time_point begun_;
  std::unique_ptr<SpanData> data_;
  TraceContext context_;
};

class Tracer {
 public:
  // Of nothing: its spans are never recorded.
  static const Tracer& off();
  // Both must outlive it and its spans.
  Tracer(const Clock& clock, Sampler sampler, SpanSink& sink);

  bool on() const { return sink_ != nullptr; }
  // Under what a caller sent; all zero begins a trace. The sampler decides.
  Span start_server(std::string_view name, const TraceContext& remote) const;
  // Under a span of this process, which has decided; all zero begins a trace.
  Span start(std::string_view name, SpanKind kind, const TraceContext& parent) const;

 private:
  friend class Span;
  Tracer() = default;
  Span begin(std::string_view name, SpanKind kind, const TraceContext& parent, bool decided) const;
  std::int64_t wall_ns(std::chrono::steady_clock::time_point at) const;

  const Clock* clock_ = nullptr;
  Sampler sampler_;
  SpanSink* sink_ = nullptr;
  // From steady to wall time: Clock::now() counts milliseconds, too few for spans.
  mutable std::atomic<std::int64_t> offset_ns_{0};
};

}  // namespace betrace::kms
