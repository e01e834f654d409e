#include "providers/pkcs11_settings.h"

#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::size_t label_bytes_max = 32;  // of a token

std::unexpected<Error> missing(std::string_view key, std::string_view what) {
  return fail(
      ErrorCode::invalid_argument,
      fmt::format("{} is not set, and the pkcs11 provider needs it: accepted is {}", key, what));
}

Result<std::string> needed(const Settings& settings, std::string_view key, std::string_view what) {
  if (auto value = settings(key)) return *std::move(value);
  return missing(key, what);
}

}  // namespace

std::string Pkcs11Settings::uri() const {
  return fmt::format("pkcs11:token={};object={}", percent_encode(token), percent_encode(key));
}

Result<Pkcs11Settings> read_pkcs11_settings(const ProviderEnvironment& environment) {
  const auto& settings = environment.settings;
  Pkcs11Settings out;
  out.path = TRY(needed(settings, "pkcs11.module", "the path of a PKCS#11 module"));
  if (out.path.find('/') == std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("pkcs11.module='{}': accepted is a path, e.g. "
                            "/usr/lib/softhsm/libsofthsm2.so",
                            out.path));
  }
  out.token = TRY(needed(settings, "pkcs11.token-label", "the label of a token"));
  if (out.token.size() > label_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("pkcs11.token-label='{}': accepted are up to {} bytes", out.token,
                            label_bytes_max));
  }
  out.key = settings("pkcs11.key-label").value_or("betrace-master-key");
  out.serial = settings("pkcs11.token-serial").value_or("");
  // Nowhere else: short strings leave their bytes behind where they are moved from.
  auto pin = settings("pkcs11.pin");
  if (!pin) return missing("pkcs11.pin", "the token's user PIN");
  out.pin = SecretBytes::copy_of(as_bytes(*pin));
  wipe(pin->data(), pin->size());
  out.module = TRY(Pkcs11Module::open(out.path, settings("pkcs11.init-args").value_or("")));
  return out;
}

}  // namespace betrace::kms
