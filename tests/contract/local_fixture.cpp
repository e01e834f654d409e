#include <filesystem>
#include <stdexcept>

#include <stdlib.h>

#include "contract/provider_fixture.h"
#include "support/fake_clock.h"
#include "support/http_fake_kms.h"

namespace betrace::kms {
namespace {

class LocalFixture final : public ProviderFixture {
 public:
  LocalFixture() : folder_(make_folder()), provider_(under("master.key")) {}
  ~LocalFixture() override { std::filesystem::remove_all(folder_); }

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under("master.key"); }
  std::unique_ptr<Provider> under_another_master_key() override { return under("other.key"); }

 private:
  static std::string make_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "provider-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    return pattern;
  }
  std::unique_ptr<Provider> under(const std::string& file) {
    const auto settings = [&](std::string_view key) -> std::optional<std::string> {
      if (key == "betrace.kms.local.master-key-file") return file;
      return std::nullopt;
    };
    return made("local", {.settings = settings,
                          .http = aws_,
                          .clock = clock_,
                          .environment = {},
                          .data_dir = folder_});
  }

  FakeAws aws_;
  FakeClock clock_;
  const std::string folder_;
  std::unique_ptr<Provider> provider_;
};

}  // namespace

std::unique_ptr<ProviderFixture> local_fixture() { return std::make_unique<LocalFixture>(); }

}  // namespace betrace::kms
