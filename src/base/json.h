// Strict JSON in: I-JSON (RFC 7493) as every route of the service takes it. Valid UTF-8, no lone
// surrogates, no field twice in an object, integers within ±(2^53 − 1) however they are
// written, unless their canonical form has an exponent (from 1e21 on), bounded depth and number of
// values, nothing after the value. Numbers with a fraction or exponent are read exactly.
//
// A document may carry secrets: its memory is wiped when it goes, and an error names position and
// reason, never content. Not synchronised.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value.hpp>

#include "betrace/kms/result.h"

namespace betrace::kms {

struct JsonLimits {
  std::size_t depth_max = 32;
  std::size_t values_max = 1'000'000;
  // Any integer, and any number that a double holds, for formats that have such numbers (OTLP).
  bool wide_numbers = false;
};

class JsonDocument {
 public:
  JsonDocument();
  ~JsonDocument();
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  // Once per document; strings are copied, so `text` may go. Errors: malformed_json.
  Status parse(std::string_view text, JsonLimits limits = {});
  // After a parse that succeeded.
  const boost::json::value& root() const { return *root_; }
  boost::json::value& root() { return *root_; }

 private:
  class WipingResource final : public boost::json::memory_resource {
    void* do_allocate(std::size_t size, std::size_t alignment) override;
    void do_deallocate(void* data, std::size_t size, std::size_t alignment) override;
    bool do_is_equal(const memory_resource& other) const noexcept override {
      return this == &other;
    }
  };

  // Holds a small document whole; larger ones continue in `upstream_`.
  std::array<unsigned char, 1024> buffer_;
  WipingResource upstream_;
  boost::json::monotonic_resource resource_;
  std::optional<boost::json::value> root_;
};

}  // namespace betrace::kms
