#include "telemetry/version.h"

namespace betrace::kms {

std::string_view version() { return BETRACE_VERSION; }

}  // namespace betrace::kms
