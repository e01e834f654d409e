// Small JSON objects that the service keeps for itself: written in the order of the calls, read
// strictly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "betrace/kms/key.h"

namespace betrace::kms {

class JsonNote {
 public:
  JsonNote& text(std::string_view name, std::string_view value);
  JsonNote& number(std::string_view name, std::int64_t value);
  JsonNote& count(std::string_view name, std::uint64_t value);
  JsonNote& flag(std::string_view name, bool value);
  JsonNote& time(std::string_view name, SystemTime value);
  // `json` is a JSON value.
  JsonNote& raw(std::string_view name, std::string_view json);
  // Closes the object; nothing more after it.
  std::string str();

 private:
  void name(std::string_view name);
  std::string out_ = "{";
};

// Members of an object; what is absent or of another type reads as empty, 0, false.
std::string text_of(const boost::json::value& object, std::string_view name);
std::int64_t number_of(const boost::json::value& object, std::string_view name);
// 0 for a negative one, too.
std::uint64_t count_of(const boost::json::value& object, std::string_view name);
bool flag_of(const boost::json::value& object, std::string_view name);
SystemTime time_of(const boost::json::value& object, std::string_view name);

}  // namespace betrace::kms
