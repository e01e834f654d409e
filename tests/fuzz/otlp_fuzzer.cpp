// Any bytes as the body of /v1/traces or /v1/logs, or of a collector's answer: nothing crashes; a
// request that is read is written as one that is read again and says the same; its compliance items
// have the same spans whatever way they came, and one that was given a signature is still the span
// that was signed.
#include <boost/json/object.hpp>

#include "base/compression.h"
#include "base/otlp.h"
#include "evidence/otlp_mapping.h"
#include "evidence/span.h"
#include "fuzz.h"

using namespace betrace::kms;

namespace {

constexpr std::size_t body_bytes_max = 1U << 20;

std::string canonical(const boost::json::object& object) {
  WipedString text;
  CanonicalFields(object).append_to(text);
  return std::string(text);
}

// The spans of a request, or why there is none.
std::string spans_of(const OtlpRequest& request) {
  std::string all;
  for (std::size_t item = 0; item < request.items(); ++item) {
    const auto span = compliance_span_of(request, item);
    all += span ? canonical(*span) : span.error().message;
    all += '\n';
  }
  return all;
}

void sign_all(OtlpRequest& request) {
  static const auto frameworks = Frameworks::with({"acme:*"}, Frameworks::Unknown::pass).value();
  const KeyId key(std::array<std::uint8_t, 16>{1});
  for (std::size_t item = 0; item < request.items(); ++item) {
    const auto object = compliance_span_of(request, item);
    if (!object) {
      set_signing_failed(request, item);
      continue;
    }
    if (carries_signature(request, item)) {
      (void)SignedSpan::parse(*object);
      continue;
    }
    const auto span = ComplianceSpan::parse(*object, frameworks);
    if (!span) continue;
    WipedBytes statement;
    span->write_statement(key, statement);
    set_signature(request, item, key, {});
    const auto back = SignedSpan::parse(compliance_span_of(request, item).value());
    must(back.fault.empty());
    must(back.statement == statement);
    must(rfc3339_time(back.timestamp).has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr std::string_view encodings[] = {"", "gzip", "zstd", "identity"};
  const auto signal = (data[0] & 1) == 0 ? OtlpSignal::traces : OtlpSignal::logs;
  const auto encoding = (data[0] & 2) == 0 ? OtlpEncoding::protobuf : OtlpEncoding::json;
  const auto body = decompress(encodings[data[0] >> 2 & 3],
                               {reinterpret_cast<const char*>(data) + 1, size - 1}, body_bytes_max);
  if (!body) return 0;
  must(body->size() <= body_bytes_max);
  (void)read_otlp_response(*body);
  auto request = OtlpRequest::decode(signal, encoding, *body);
  if (!request) return 0;
  const auto written = request->encode();
  const auto again = OtlpRequest::decode(signal, OtlpEncoding::protobuf, written);
  must(again.has_value());
  must(again->encode() == written);
  must(spans_of(*again) == spans_of(*request));
  must(decompress("gzip", gzip(written), written.size()).value() == written);
  sign_all(*request);
  must(OtlpRequest::decode(signal, OtlpEncoding::protobuf, request->encode()).has_value());
  return 0;
}
