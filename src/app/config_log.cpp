#include "app/config_log.h"

namespace betrace::kms {

LogOptions log_options(const Config& config) {
  LogOptions options;
  options.level = config.text("quarkus.log.level");
  options.category_levels = config.log_category_levels();
  options.console = config.flag("quarkus.log.console.enable");
  options.json = config.flag("quarkus.log.console.json");
  if (config.flag("quarkus.log.file.enable")) options.file = config.text("quarkus.log.file.path");
  options.file_json = config.flag("quarkus.log.file.json");
  return options;
}

}  // namespace betrace::kms
