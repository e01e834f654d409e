// Any bytes as the JSON of a span, or of the document around spans: nothing crashes; a canonical
// form is its own canonical form, and is accepted again; what can be signed has a time and is, as
// it was signed, one that can be verified.

#include <boost/json/value.hpp>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/json.h"
#include "evidence/span.h"
#include "evidence/span_request.h"
#include "fuzz.h"

using namespace betrace::kms;

namespace {

WipedString canonical(const boost::json::value& value) {
  WipedString text;
  append_canonical_json(value, text);
  return text;
}

// Each form of the document says as many spans as it has, and both readers the same.
void read_request(std::string_view text) {
  SpanRequest sign, verify;
  const bool to_sign = sign.parse(text).has_value(),
             to_verify = verify.parse(text, true).has_value();
  must(to_verify || !to_sign);
  if (to_verify) must(verify.is_batch() || verify.spans().size() == 1);
  if (!to_sign) return;
  must(sign.is_batch() == verify.is_batch() && sign.spans().size() == verify.spans().size());
  for (std::size_t i = 0; i < sign.spans().size(); ++i) {
    must(canonical(*sign.spans()[i]) == canonical(*verify.spans()[i]));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto frameworks = Frameworks::with({"acme:*"}, Frameworks::Unknown::refuse).value();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  read_request(bytes);
  JsonDocument document;
  if (!document.parse(bytes)) return 0;
  const auto text = canonical(document.root());
  JsonDocument again;
  must(again.parse(text).has_value());
  must(canonical(again.root()) == text);

  const auto* object = document.root().if_object();
  if (object == nullptr) return 0;
  (void)SignedSpan::parse(*object);
  const auto span = ComplianceSpan::parse(*object, frameworks);
  if (!span) return 0;
  const KeyId key(std::array<std::uint8_t, 16>{1});
  WipedBytes statement;
  span->write_statement(key, statement);
  JsonDocument whole;
  must(whole.parse(span->signed_json(key, {})).has_value());
  const auto back = SignedSpan::parse(whole.root().as_object());
  must(back.fault.empty());
  must(back.statement == statement);
  must(rfc3339_time(back.timestamp).has_value());
  return 0;
}
