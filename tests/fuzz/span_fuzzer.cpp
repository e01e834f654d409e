// Any bytes as the JSON of a span: nothing crashes; a canonical form is its own canonical form, and
// is accepted again; what can be signed has a time and is, as it was signed, one that can be
// verified.

#include <boost/json/value.hpp>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/json.h"
#include "evidence/span.h"
#include "fuzz.h"

using namespace betrace::kms;

namespace {

WipedString canonical(const boost::json::value& value) {
  WipedString text;
  append_canonical_json(value, text);
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto frameworks = Frameworks::with({"acme:*"}, Frameworks::Unknown::refuse).value();
  JsonDocument document;
  if (!document.parse({reinterpret_cast<const char*>(data), size})) return 0;
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
