#include "base/json_note.h"

#include <algorithm>

#include "base/canonical_json.h"

namespace betrace::kms {
namespace {

const boost::json::value* member(const boost::json::value& object, std::string_view name) {
  return object.is_object() ? object.get_object().if_contains(name) : nullptr;
}

}  // namespace

void JsonNote::name(std::string_view name) {
  if (out_.size() > 1) out_ += ',';
  append_json_string(name, out_);
  out_ += ':';
}

JsonNote& JsonNote::text(std::string_view name, std::string_view value) {
  this->name(name);
  append_json_string(value, out_);
  return *this;
}

JsonNote& JsonNote::number(std::string_view name, std::int64_t value) {
  return raw(name, std::to_string(value));
}

JsonNote& JsonNote::count(std::string_view name, std::uint64_t value) {
  return raw(name, std::to_string(value));
}

JsonNote& JsonNote::flag(std::string_view name, bool value) {
  return raw(name, value ? "true" : "false");
}

JsonNote& JsonNote::time(std::string_view name, SystemTime value) {
  return number(name, value.time_since_epoch().count());
}

JsonNote& JsonNote::raw(std::string_view name, std::string_view json) {
  this->name(name);
  out_ += json;
  return *this;
}

std::string JsonNote::str() {
  out_ += '}';
  return std::move(out_);
}

std::string text_of(const boost::json::value& object, std::string_view name) {
  const auto* const found = member(object, name);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

std::int64_t number_of(const boost::json::value& object, std::string_view name) {
  const auto* const found = member(object, name);
  return found != nullptr && found->is_int64() ? found->get_int64() : 0;
}

std::uint64_t count_of(const boost::json::value& object, std::string_view name) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, number_of(object, name)));
}

bool flag_of(const boost::json::value& object, std::string_view name) {
  const auto* const found = member(object, name);
  return found != nullptr && found->is_bool() && found->get_bool();
}

SystemTime time_of(const boost::json::value& object, std::string_view name) {
  return SystemTime(std::chrono::milliseconds(number_of(object, name)));
}

}  // namespace betrace::kms
