#include "betrace/kms/service.h"

#include "app/admin_token.h"
#include "app/config.h"
#include "app/wiring.h"
#include "base/try.h"

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
  TRY(make_data_directory(config.text("betrace.kms.data-dir")));
  return std::make_unique<LibraryService>(TRY(Core::open(config)));
}

}  // namespace betrace::kms
