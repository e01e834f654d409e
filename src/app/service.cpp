#include "betrace/kms/service.h"

#include "app/admin_token.h"
#include "app/config.h"
#include "app/wiring.h"
#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

class LibraryService final : public Service {
 public:
  explicit LibraryService(std::unique_ptr<Core> core) : core_(std::move(core)) {}
  KeyService& keys() override { return core_->keys(); }

 private:
  std::unique_ptr<Core> core_;
};

}  // namespace

Result<std::unique_ptr<Service>> Service::open(const std::map<std::string, std::string>& settings) {
  // What the host program says, and nothing that happens to lie around in its environment.
  const auto config = TRY(Config::load({.overrides = settings,
                                        .overrides_name = "the settings",
                                        .environment = {},
                                        .file = {},
                                        .search_paths = {}}));
  if (config.is_set("quarkus.log.level")) {
    TRY(set_log_level("", config.text("quarkus.log.level")));
  }
  for (const auto& [category, level] : config.log_category_levels()) {
    TRY(set_log_level(category, level));
  }
  TRY(make_data_directory(config.text("betrace.kms.data-dir")));
  auto core = TRY(Core::open(config));
  core->start(config);
  return std::make_unique<LibraryService>(std::move(core));
}

}  // namespace betrace::kms
