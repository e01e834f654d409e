#include <fmt/format.h>

#include "contract/provider_fixture.h"
#include "contract/soft_hsm.h"
#include "support/fake_clock.h"
#include "support/http_fake_kms.h"

namespace betrace::kms {
namespace {

// A real SoftHSM; each fixture has keys of its own. What a token answers when it is in trouble:
// Pkcs11Test and Pkcs11TokenTest.
class Pkcs11Fixture final : public ProviderFixture {
 public:
  Pkcs11Fixture() : master_(fmt::format("master-{}", next_number())) {
    hsm().make_key(master_);
    hsm().make_key(master_ + "-other");
    provider_ = under(master_);
  }
  ~Pkcs11Fixture() override {
    for (const auto* suffix : {"", "-other"}) hsm().destroy_key(master_ + suffix);
  }

  Provider& provider() override { return *provider_; }
  std::unique_ptr<Provider> reopened() override { return under(master_); }
  std::unique_ptr<Provider> under_another_master_key() override {
    return under(master_ + "-other");
  }
  bool cause(Mishap trouble) override {
    if (trouble != Mishap::key_gone) return false;
    hsm().destroy_key(master_);
    return true;
  }

 private:
  static int next_number() {
    static int number = 0;
    return ++number;
  }
  static SoftHsm& hsm() {
    static SoftHsm instance("contract");
    return instance;
  }
  std::unique_ptr<Provider> under(const std::string& key) {
    const auto settings = [&](std::string_view name) -> std::optional<std::string> {
      if (name == "pkcs11.module") return SoftHsm::module_path;
      if (name == "pkcs11.token-label") return hsm().label();
      if (name == "pkcs11.pin") return SoftHsm::pin;
      if (name == "pkcs11.key-label") return key;
      return std::nullopt;
    };
    return made("pkcs11", {.settings = settings,
                           .http = nobody_,
                           .clock = clock_,
                           .environment = {},
                           .data_dir = ""});
  }

  FakeAws nobody_;
  FakeClock clock_;
  const std::string master_;
  std::unique_ptr<Provider> provider_;
};

}  // namespace

std::unique_ptr<ProviderFixture> pkcs11_fixture() { return std::make_unique<Pkcs11Fixture>(); }

}  // namespace betrace::kms
