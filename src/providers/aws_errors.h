// AWS's refusals in our vocabulary. The kind of an error is read from, in this order, `__type` of
// the JSON body (what follows '#'), the X-Amzn-ErrorType header, <Code> of an XML body, the status.
// The message is AWS's own, word for word. Thread-safe.
#pragma once

#include <optional>
#include <string_view>

#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

#include "base/http.h"

namespace betrace::kms {

// The error that `answer`, of a status other than 200, stands for. `operation` names the request
// where AWS says nothing ("AWS KMS Decrypt"); `now` is compared with the answer's Date when AWS
// refuses a signature for its time.
Error classify_aws_error(const HttpAnswer& answer, std::string_view operation, SystemTime now);

// AWS refused the credentials themselves as old or unknown: others may have taken their place.
bool refuses_credentials(const Error& error);

// The text of the first element of that name, entities resolved; nothing when there is none. For
// AWS's XML answers, which have neither attributes nor nesting in the elements we read.
std::optional<WipedString> xml_text(std::string_view body, std::string_view element);

}  // namespace betrace::kms
