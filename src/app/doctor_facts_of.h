// The facts of doctor that come from the configuration and the machine.
#pragma once

#include "app/config.h"
#include "core/doctor_facts.h"

namespace betrace::kms {

// A path as whoever reads a finding can use it, wherever they are.
std::string absolute(const std::string& path);
// Of a configuration that could be loaded.
ConfigFacts config_facts(const Config& config);

// Files, disk and certificate. Blocks on the disk.
HostFacts host_facts(const Config& config);
// The schema of the store's file, where there is one.
std::optional<HostFacts::Schema> schema_facts(const Config& config);

}  // namespace betrace::kms
