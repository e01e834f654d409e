#include "evidence/log_key.h"

#include <array>
#include <filesystem>
#include <system_error>

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

struct KeyFile {
  NoteKey public_key;
  Bytes sealed;
};

std::string path_in(const std::string& folder) { return folder + "/log-key.json"; }

// Nothing in a new log's folder.
Result<std::optional<KeyFile>> read_file(const std::string& folder) {
  const auto path = path_in(folder);
  const auto text = TRY(read_whole_file(path));
  if (!text) {
    std::error_code error;
    if (!std::filesystem::is_directory(folder + "/tenants", error)) return std::nullopt;
    return corrupt(path,
                   fmt::format("it is missing, and its key signed the checkpoints in {}/tenants: "
                               "put it back from a backup",
                               folder));
  }
  JsonDocument document;
  if (!document.parse(*text) || !document.root().is_object()) {
    return corrupt(path, "it is not a JSON object");
  }
  auto public_key = NoteKey::parse(text_of(document.root(), "key"));
  if (!public_key) return corrupt(path, public_key.error().message);
  const auto sealed = base64_decode(text_of(document.root(), "sealed"));
  if (!sealed) return corrupt(path, "'sealed' is not base64");
  return KeyFile{.public_key = *std::move(public_key),
                 .sealed = Bytes(sealed->begin(), sealed->end())};
}

}  // namespace

Result<std::optional<NoteKey>> LogKey::find(const std::string& folder) {
  auto file = TRY(read_file(folder));
  if (!file) return std::nullopt;
  return std::move(file->public_key);
}

Result<LogKey> LogKey::load_or_make(const std::string& folder, const std::string& name,
                                    const LogKeySeal& seal) {
  const auto path = path_in(folder);
  const auto file = TRY(read_file(folder));
  if (!file) {
    std::array<std::uint8_t, 4> suffix;
    random_bytes(suffix);
    const auto seed = SecretBytes::random(32);
    auto key = ed25519_key_from_seed(seed);
    auto public_key = public_half(fmt::format("{}-{}", name, hex_encode(suffix)), key);
    const auto sealed = base64_encode(TRY(seal.seal(seed)));
    TRY(replace_file(path, JsonNote().text("key", public_key.text()).text("sealed", sealed).str()));
    return LogKey(std::move(public_key), std::move(key));
  }
  const auto seed = TRY(seal.open(file->sealed));
  if (seed.size() != 32) return corrupt(path, "what was sealed is no key");
  auto key = ed25519_key_from_seed(seed);
  if (public_half(file->public_key.name, key) != file->public_key) {
    return corrupt(path, "the sealed key is not that of 'key'");
  }
  return LogKey(file->public_key, std::move(key));
}

std::string LogKey::sign(const Checkpoint& checkpoint) const {
  return signed_note(checkpoint.text(), public_key_, [this](ByteView bytes) {
    SignJob job{.key = &secret_, .payload = bytes};
    sodium_signer().sign({&job, 1});
    return job.signature;
  });
}

}  // namespace betrace::kms
