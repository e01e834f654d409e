// A SpanSink that keeps what it takes. Not thread-safe.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "telemetry/trace.h"

namespace betrace::kms {

struct KeptSpans final : SpanSink {
  std::vector<std::unique_ptr<SpanData>> spans;
  void take(std::unique_ptr<SpanData> span) override { spans.push_back(std::move(span)); }
};

// Whether it bears this attribute.
inline bool has(const SpanData& span, std::string_view name, SpanValue value) {
  return std::ranges::find(span.attributes, std::pair(name, std::move(value))) !=
         span.attributes.end();
}

}  // namespace betrace::kms
