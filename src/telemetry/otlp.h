// Spans as an ExportTraceServiceRequest of OTLP 1, in protobuf's wire format:
// https://github.com/open-telemetry/opentelemetry-proto, trace/v1/trace.proto. Only what is sent is
// written here; nothing is read. Pure functions.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/trace.h"

namespace betrace::kms {

using ResourceAttributes = std::vector<std::pair<std::string, std::string>>;

// Bytes of a string that are not UTF-8 become '?': a collector refuses the whole request for one.
std::string encode_traces(const ResourceAttributes& resource,
                          std::span<const std::unique_ptr<SpanData>> spans);

}  // namespace betrace::kms
