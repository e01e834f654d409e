#include "core/epoch.h"

#include <charconv>

#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/envelope.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"
#include "core/succession.h"

namespace betrace::kms {
namespace {

// All members are strings, as in every statement of ours.
Result<std::uint64_t> number_in(const boost::json::value& object, std::string_view name) {
  const auto text = text_of(object, name);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::corrupt, fmt::format("the epoch's '{}' is no number", name));
  }
  return number;
}

}  // namespace

SealedEpoch seal_epoch(const SigningKey& service_key, Epoch epoch) {
  epoch.service_key = service_key.id;
  const auto statement = canonical_json({
      {"epoch", std::to_string(epoch.number)},
      {"generation", std::to_string(epoch.generation)},
      {"sealedAt", std::to_string(epoch.sealed_at.time_since_epoch().count())},
  });
  const auto signature = sign_assertion(service_key, dsse_encode(epoch_type, as_bytes(statement)));
  const EnvelopeSignature by_service{service_key.id, signature};
  return {.epoch = epoch, .envelope = dsse_envelope(epoch_type, statement, {&by_service, 1})};
}

Result<SealedEpoch> open_epoch(std::string_view envelope, ByteView service_public_key) {
  const auto opened = TRY(open_envelope(envelope, epoch_type, service_public_key));
  JsonDocument document;
  TRY(document.parse(opened.payload));
  const auto& root = document.root();
  const auto sealed_at = TRY(number_in(root, "sealedAt"));
  return SealedEpoch{.epoch = {.number = TRY(number_in(root, "epoch")),
                               .generation = TRY(number_in(root, "generation")),
                               .sealed_at = SystemTime(std::chrono::milliseconds(sealed_at)),
                               .service_key = opened.signed_by},
                     .envelope = std::string(envelope)};
}

std::string epoch_note_name(std::uint64_t number) {
  return fmt::format("{}{:020}", epoch_prefix, number);
}

Result<std::optional<std::string>> find_epoch(const CallContext& call, KeyStore& store) {
  std::optional<std::string> newest;
  std::string after;
  for (;;) {
    const auto page = TRY(store.list_notes(call, epoch_prefix, after, 100));
    if (page.empty()) return newest;
    after = page.back().first;
    newest = page.back().second;
  }
}

}  // namespace betrace::kms
