#include "telemetry/trace.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "base/crypto.h"

namespace betrace::kms {
namespace {

constexpr std::size_t text_bytes_max = 1024;
constexpr std::int64_t drift_ns_max = 5'000'000;

// splitmix64 per thread: ids must differ and be spread evenly, not be secret.
std::uint64_t random_number() {
  thread_local std::uint64_t state = [] {
    std::array<std::uint8_t, sizeof(std::uint64_t)> bytes;
    random_bytes(bytes);
    std::uint64_t seed = 0;
    std::memcpy(&seed, bytes.data(), bytes.size());
    return seed;
  }();
  auto x = state += 0x9e3779b97f4a7c15U;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27) * 0x94d049bb133111ebU;
  return x ^ x >> 31;
}

template <std::size_t Size>
void fill(std::array<std::uint8_t, Size>& id) {
  for (std::size_t at = 0; at < Size; at += sizeof(std::uint64_t)) {
    const auto number = std::max<std::uint64_t>(random_number(), 1);  // all zeros are no id
    std::memcpy(id.data() + at, &number, sizeof number);
  }
}

std::int64_t nanoseconds(auto time) {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

}  // namespace

Result<Sampler> Sampler::parse(std::string_view name, double ratio) {
  Sampler sampler;
  auto root = name;
  constexpr std::string_view prefix = "parentbased_";
  sampler.parent_based_ = root.starts_with(prefix);
  if (sampler.parent_based_) root.remove_prefix(prefix.size());
  if (root == "always_on") return sampler;
  sampler.all_ = false;
  if (root == "always_off") return sampler;
  if (root == "traceidratio" && ratio >= 0 && ratio <= 1) {
    sampler.all_ = ratio == 1;
    if (!sampler.all_) sampler.bound_ = static_cast<std::uint64_t>(std::ldexp(ratio, 64));
    return sampler;
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("no such sampler: '{}' ({}); always_on, always_off, traceidratio with a "
                          "ratio from 0 to 1, and each after parentbased_ are accepted",
                          name, ratio));
}

bool Sampler::sample(const TraceContext& parent,
                     const std::array<std::uint8_t, 16>& trace_id) const {
  if (parent_based_ && parent.valid()) return parent.sampled;
  if (all_) return true;
  std::uint64_t number = 0;
  for (std::size_t i = 8; i < trace_id.size(); ++i) number = number << 8 | trace_id[i];
  return number < bound_;
}

void Span::set(std::string_view name, std::string_view value) {
  if (data_) data_->attributes.emplace_back(name, std::string(value.substr(0, text_bytes_max)));
}

void Span::set(std::string_view name, std::int64_t value) {
  if (data_) data_->attributes.emplace_back(name, value);
}

void Span::fail(std::string_view message) {
  if (!data_) return;
  data_->failed = true;
  data_->message = message.substr(0, text_bytes_max);
  set("error", true);
  set("error.message", message);
}

void Span::end() {
  if (!data_) return;
  const auto took = tracer_->clock_->steady_now() - begun_;
  data_->ended_ns = data_->begun_ns + std::chrono::nanoseconds(took).count();
  data_->attributes.emplace_back("latency.ms",
                                 std::chrono::duration<double, std::milli>(took).count());
  tracer_->sink_->take(std::move(data_));
}

const Tracer& Tracer::off() {
  static const Tracer none;
  return none;
}

Tracer::Tracer(const Clock& clock, Sampler sampler, SpanSink& sink)
    : clock_(&clock), sampler_(sampler), sink_(&sink) {}

// Set anew where somebody has set the wall clock; within a few milliseconds left alone, so that a
// child never begins before its parent.
std::int64_t Tracer::wall_ns(std::chrono::steady_clock::time_point at) const {
  const auto steady = nanoseconds(at);
  auto offset = offset_ns_.load(std::memory_order_relaxed);
  const auto now = nanoseconds(clock_->now());
  if (std::abs(now - (steady + offset)) > drift_ns_max) {
    offset = now - steady;
    offset_ns_.store(offset, std::memory_order_relaxed);
  }
  return steady + offset;
}

Span Tracer::begin(std::string_view name, SpanKind kind, const TraceContext& parent,
                   bool decided) const {
  Span span;
  span.context_ = parent;
  if (!on() || (decided && !parent.sampled)) return span;
  if (!parent.valid()) fill(span.context_.trace_id);
  fill(span.context_.span_id);
  span.context_.sampled = decided || sampler_.sample(parent, span.context_.trace_id);
  if (!span.context_.sampled) return span;
  span.tracer_ = this;
  span.begun_ = clock_->steady_now();
  span.data_ = std::make_unique<SpanData>(SpanData{.name = std::string(name),
                                                   .kind = kind,
                                                   .context = span.context_,
                                                   .parent_id = parent.span_id,
                                                   .begun_ns = wall_ns(span.begun_)});
  return span;
}

Span Tracer::start_server(std::string_view name, const TraceContext& remote) const {
  return begin(name, SpanKind::server, remote, false);
}

Span Tracer::start(std::string_view name, SpanKind kind, const TraceContext& parent) const {
  return begin(name, kind, parent, parent.valid());
}

}  // namespace betrace::kms
