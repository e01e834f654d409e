// The document around compliance spans: {"span":…}, {"spans":[…]}, or, for a verification, the
// older {"spanAttributes":{…},"signature":"…"}. Any bytes may be given. Not synchronised.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "betrace/kms/result.h"

#include "base/json.h"

namespace betrace::kms {

class SpanRequest {
 public:
  // Once. Errors: malformed_json; invalid_argument, for more than 1,000 as well; payload_too_large
  // for one span of more than 1 MiB.
  Status parse(std::string_view text, bool older_form_too = false);
  bool is_batch() const { return batch_; }
  // Whatever stands for a span, which need be none; valid as long as this is.
  const std::vector<const boost::json::value*>& spans() const { return spans_; }

 private:
  Status take(const boost::json::value& root);

  JsonDocument document_;
  std::optional<boost::json::value> older_form_;
  bool batch_ = false;
  std::vector<const boost::json::value*> spans_;
};

}  // namespace betrace::kms
