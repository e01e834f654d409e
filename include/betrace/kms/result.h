// Every call that can fail returns one of these; nothing in the library throws across its border.
#pragma once

#include <expected>
#include <functional>

#include "betrace/kms/error.h"

namespace betrace::kms {

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

// Called exactly once, from any thread, perhaps before the call that took it returns.
template <class T>
using Done = std::move_only_function<void(Result<T>)>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{.code = code, .message = std::move(message)});
}

}  // namespace betrace::kms
