#include "providers/json_answer.h"

#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include "base/json.h"

namespace betrace::kms {
namespace {

const boost::json::value* find(const JsonDocument& document, std::string_view pointer) {
  boost::json::error_code error;
  return document.root().find_pointer(pointer, error);
}

}  // namespace

JsonAnswer::JsonAnswer(std::unique_ptr<JsonDocument> document) : document_(std::move(document)) {}
JsonAnswer::JsonAnswer(JsonAnswer&&) noexcept = default;
JsonAnswer& JsonAnswer::operator=(JsonAnswer&&) noexcept = default;
JsonAnswer::~JsonAnswer() = default;

std::optional<JsonAnswer> JsonAnswer::parse(std::string_view text) {
  auto document = std::make_unique<JsonDocument>();
  if (!document->parse(text) || !document->root().is_object()) return std::nullopt;
  return JsonAnswer(std::move(document));
}

std::optional<std::string_view> JsonAnswer::text(std::string_view pointer) const {
  const auto* found = find(*document_, pointer);
  if (!found || !found->is_string()) return std::nullopt;
  const auto& string = found->get_string();
  return std::string_view(string.data(), string.size());
}

std::optional<double> JsonAnswer::number(std::string_view pointer) const {
  const auto* found = find(*document_, pointer);
  if (!found || !found->is_number()) return std::nullopt;
  boost::json::error_code error;
  const auto value = found->to_number<double>(error);
  return error ? std::nullopt : std::optional(value);
}

std::optional<bool> JsonAnswer::flag(std::string_view pointer) const {
  const auto* found = find(*document_, pointer);
  if (!found || !found->is_bool()) return std::nullopt;
  return found->get_bool();
}

}  // namespace betrace::kms
