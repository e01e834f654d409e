#include <string>
#include <vector>

#include <fmt/format.h>

#include "api/batch.h"
#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/key_views.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

struct SignWork {
  ExchangePtr exchange;
  std::vector<WipedBytes> payloads;
  std::vector<ByteView> views;
  bool batch = false;
  bool tried_to_create = false;
};
using SignWorkPtr = std::unique_ptr<SignWork>;

Status read_sign(SignWork& work) {
  JsonDocument document;
  ItemFields fields{.single_name = "payload", .plural_name = "payloads"};
  TRY(read_body(work.exchange->request(), document,
                {{"payload", &fields.single}, {"payloads", &fields.plural}}));
  const auto items = TRY(item_fields(fields, work.exchange->request()));
  work.payloads = TRY(base64_items(fields, items));
  work.views.assign(work.payloads.begin(), work.payloads.end());
  work.batch = items.batch;
  return {};
}

void write_signature(JsonWriter& out, const Signature& signature) {
  out.begin_object();
  out.key("keyId").string(signature.key_id.str());
  out.key("version").integer(signature.version);
  out.key("algorithm").string("Ed25519");
  out.key("signature").base64(signature.bytes);
  if (signature.stale) out.key("stale").boolean(true);
  out.end_object();
}

void begin_sign(SignWorkPtr work) {
  const auto& now = *work;
  now.exchange->api().keys.sign(
      now.exchange->call(), now.exchange->tenant(), now.views,
      [work = std::move(work)](Result<std::vector<Result<Signature>>> signatures) mutable {
        if (!signatures && should_create_tenant(*work, signatures.error())) {
          return create_tenant_then(std::move(work), begin_sign);
        }
        constexpr std::size_t answer_bytes = 224;
        answer_items(std::move(work->exchange), work->batch, std::move(signatures), answer_bytes,
                     write_signature);
      });
}

// --- verify -------------------------------------------------------------------------------------

struct VerifyWork {
  ExchangePtr exchange;
  std::vector<WipedBytes> payloads, signatures;
  std::vector<VerifyRequest> requests;
  bool batch = false;
};
using VerifyWorkPtr = std::unique_ptr<VerifyWork>;

struct VerifyFields {
  JsonValue payload = nullptr, signature = nullptr, key_id = nullptr, version = nullptr;
};

// `prefix` is "" or "items[3].".
Status add_verification(VerifyWork& work, const std::string& prefix, const VerifyFields& fields) {
  const auto key_id = TRY(key_id_field(prefix + "keyId", fields.key_id));
  const auto version = TRY(version_field(prefix + "version", fields.version));
  if (key_id && version) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("either '{0}keyId' or '{0}version', not both", prefix));
  }
  // The buffers stay where they are when the vectors that own them grow.
  work.payloads.push_back(TRY(base64_field(prefix + "payload", fields.payload)));
  work.signatures.push_back(TRY(base64_field(prefix + "signature", fields.signature)));
  work.requests.push_back({.payload = work.payloads.back(),
                           .signature = work.signatures.back(),
                           .key_id = key_id,
                           .version = version});
  return {};
}

Status read_verify_items(VerifyWork& work, JsonValue items) {
  const auto values = TRY(array_field("items", items));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto place = fmt::format("items[{}]", i);
    VerifyFields fields;
    TRY(read_object(*values[i], place,
                    {{"payload", &fields.payload},
                     {"signature", &fields.signature},
                     {"keyId", &fields.key_id},
                     {"version", &fields.version}}));
    TRY(add_verification(work, place + ".", fields));
  }
  return {};
}

// Two arrays side by side; keyId or version hold for all.
Status read_verify_arrays(VerifyWork& work, JsonValue payloads, JsonValue signatures,
                          const VerifyFields& common) {
  const ItemFields payload_fields{.single_name = "payload", .plural_name = "payloads"};
  const ItemFields signature_fields{.single_name = "signature", .plural_name = "signatures"};
  const Items payload_items{.values = TRY(array_field("payloads", payloads)), .batch = true};
  const Items signature_items{.values = TRY(array_field("signatures", signatures)), .batch = true};
  if (payload_items.values.size() != signature_items.values.size()) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("'payloads' has {} items and 'signatures' {}; both need the same number",
                    payload_items.values.size(), signature_items.values.size()));
  }
  const auto key_id = TRY(key_id_field("keyId", common.key_id));
  const auto version = TRY(version_field("version", common.version));
  if (key_id && version) {
    return fail(ErrorCode::invalid_argument, "either 'keyId' or 'version', not both");
  }
  work.payloads = TRY(base64_items(payload_fields, payload_items));
  work.signatures = TRY(base64_items(signature_fields, signature_items));
  for (std::size_t i = 0; i < work.payloads.size(); ++i) {
    work.requests.push_back({.payload = work.payloads[i],
                             .signature = work.signatures[i],
                             .key_id = key_id,
                             .version = version});
  }
  return {};
}

Status read_verify(VerifyWork& work) {
  const auto& request = work.exchange->request();
  JsonDocument document;
  VerifyFields single;
  JsonValue items = nullptr, payloads = nullptr, signatures = nullptr;
  TRY(read_body(request, document,
                {{"payload", &single.payload},
                 {"signature", &single.signature},
                 {"keyId", &single.key_id},
                 {"version", &single.version},
                 {"payloads", &payloads},
                 {"signatures", &signatures},
                 {"items", &items}}));
  const bool one = single.payload || single.signature;
  const bool arrays = payloads || signatures;
  if (one + arrays + (items != nullptr) != 1 || (items && (single.key_id || single.version))) {
    return fail(ErrorCode::invalid_argument,
                "the body needs 'payload' and 'signature', or 'payloads' and 'signatures' (each "
                "with 'keyId' or 'version' beside them, or neither), or 'items'");
  }
  work.batch = !one;
  if (arrays) return read_verify_arrays(work, payloads, signatures, single);
  if (items) return read_verify_items(work, items);
  TRY(check_single_body(request));
  return add_verification(work, "", single);
}

void write_verification(JsonWriter& out, const Verification& verification) {
  out.begin_object();
  out.key("valid").boolean(verification.valid);
  out.key("keyId").string(verification.key_id.str());
  out.key("version").integer(verification.version);
  out.key("keyStatus").string(key_status(verification.key_state));
  out.key("trusted").boolean(verification.trusted);
  if (verification.revoked_at) {
    out.key("revokedAt").time(*verification.revoked_at);
    out.key("revocationReason").string(verification.revocation_reason);
  }
  out.end_object();
}

void begin_verify(VerifyWorkPtr work) {
  const auto& now = *work;
  now.exchange->api().keys.verify(
      now.exchange->call(), now.exchange->tenant(), now.requests,
      [work = std::move(work)](Result<std::vector<Result<Verification>>> verifications) mutable {
        constexpr std::size_t answer_bytes = 128;
        answer_items(std::move(work->exchange), work->batch, std::move(verifications), answer_bytes,
                     write_verification);
      });
}

}  // namespace

namespace handlers {

void sign(ExchangePtr exchange) {
  auto work = std::make_unique<SignWork>();
  work->exchange = std::move(exchange);
  if (auto read = read_sign(*work); !read) {
    return refuse(std::move(work->exchange), std::move(read).error());
  }
  const auto items = work->views.size();
  start(std::move(work), items, begin_sign);
}

void verify(ExchangePtr exchange) {
  auto work = std::make_unique<VerifyWork>();
  work->exchange = std::move(exchange);
  if (auto read = read_verify(*work); !read) {
    return refuse(std::move(work->exchange), std::move(read).error());
  }
  const auto items = work->requests.size();
  start(std::move(work), items, begin_verify);
}

}  // namespace handlers
}  // namespace betrace::kms
