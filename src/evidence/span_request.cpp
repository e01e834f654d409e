#include "evidence/span_request.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <fmt/format.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

using boost::json::value;

constexpr std::size_t spans_max = 1000, single_bytes_max = 1 << 20;

// {"spanAttributes":{…},"signature":"…"} as the span it means, if it is that.
std::optional<value> span_of_older_form(const value& root) {
  const auto* document = root.if_object();
  const auto* span = document ? document->if_contains("spanAttributes") : nullptr;
  const auto* signature = document ? document->if_contains("signature") : nullptr;
  if (!span || !span->is_object() || !signature || document->size() != 2) return std::nullopt;
  value whole(*span, document->storage());
  if (!whole.get_object().emplace("signature", *signature).second) return std::nullopt;
  return whole;
}

}  // namespace

Status SpanRequest::parse(std::string_view text, bool older_form_too) {
  TRY(document_.parse(text));
  if (older_form_too) older_form_ = span_of_older_form(document_.root());
  if (older_form_) {
    spans_ = {&*older_form_};
  } else {
    TRY(take(document_.root()));
  }
  if (batch_ || text.size() <= single_bytes_max) return {};
  return fail(
      ErrorCode::payload_too_large,
      fmt::format("the body has {} bytes; at most {} for one span", text.size(), single_bytes_max));
}

Status SpanRequest::take(const value& root) {
  const auto* document = root.if_object();
  if (document == nullptr) return fail(ErrorCode::invalid_argument, "the body is not an object");
  const value *one = nullptr, *many = nullptr;
  for (const auto& [name, field] : *document) {
    if (name == "span") {
      one = &field;
    } else if (name == "spans") {
      many = &field;
    } else {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("the field '{}' is not known here; accepted is either 'span' or "
                              "'spans'",
                              std::string_view(name)));
    }
  }
  if ((one != nullptr) == (many != nullptr)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the body needs either 'span' or 'spans'{}",
                            one != nullptr ? ", not both" : ""));
  }
  if (one != nullptr) {
    spans_ = {one};
    return {};
  }
  const auto* items = many->if_array();
  if (items == nullptr) return fail(ErrorCode::invalid_argument, "'spans' is not an array");
  if (items->size() > spans_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("'spans' has {} items; at most {}", items->size(), spans_max));
  }
  batch_ = true;
  for (const auto& item : *items) spans_.push_back(&item);
  return {};
}

}  // namespace betrace::kms
