#include "evidence/log_key.h"

#include <array>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

NoteKey public_half(std::string name, const SecretBytes& key) {
  const auto bytes = ed25519_public_half(key);
  return {.name = std::move(name), .public_key = Bytes(bytes.begin(), bytes.end())};
}

std::unexpected<Error> corrupt(const std::string& path, std::string_view why) {
  return fail(ErrorCode::corrupt, fmt::format("{}: {}", path, why));
}

}  // namespace

Result<LogKey> LogKey::load_or_make(const std::string& folder, const std::string& name,
                                    const LogKeySeal& seal) {
  const auto path = folder + "/log-key.json";
  const auto text = TRY(read_whole_file(path));
  if (!text) {
    std::array<std::uint8_t, 4> suffix;
    random_bytes(suffix);
    const auto seed = SecretBytes::random(32);
    auto key = ed25519_key_from_seed(seed);
    auto public_key = public_half(fmt::format("{}-{}", name, hex_encode(suffix)), key);
    const auto sealed = base64_encode(TRY(seal.seal(seed)));
    TRY(replace_file(path, JsonNote().text("key", public_key.text()).text("sealed", sealed).str()));
    return LogKey(std::move(public_key), std::move(key));
  }
  JsonDocument document;
  if (!document.parse(*text) || !document.root().is_object()) {
    return corrupt(path, "it is not a JSON object");
  }
  const auto& file = document.root();
  auto public_key = NoteKey::parse(text_of(file, "key"));
  if (!public_key) return corrupt(path, public_key.error().message);
  const auto sealed = base64_decode(text_of(file, "sealed"));
  if (!sealed) return corrupt(path, "'sealed' is not base64");
  const auto seed = TRY(seal.open(*sealed));
  if (seed.size() != 32) return corrupt(path, "what was sealed is no key");
  auto key = ed25519_key_from_seed(seed);
  if (public_half(public_key->name, key) != *public_key) {
    return corrupt(path, "the sealed key is not that of 'key'");
  }
  return LogKey(*std::move(public_key), std::move(key));
}

std::string LogKey::sign(const Checkpoint& checkpoint) const {
  return signed_note(checkpoint.text(), public_key_, [this](ByteView bytes) {
    SignJob job{.key = &secret_, .payload = bytes};
    sodium_signer().sign({&job, 1});
    return job.signature;
  });
}

}  // namespace betrace::kms
