// The doctor of the running service, over what Core owns.
#pragma once

#include <memory>

#include "app/config.h"
#include "app/wiring.h"
#include "core/service_doctor.h"

namespace betrace::kms {

std::unique_ptr<ServiceDoctor> make_service_doctor(Core::Parts& parts, const Config& config);

}  // namespace betrace::kms
