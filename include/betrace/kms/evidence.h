// Compliance spans: signed, and verified by whoever has the public keys. The format, to the byte,
// is docs/evidence-format.md. Nothing here knows HTTP or the store.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/key.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// What the service itself asserts in a tenant's name: DSSE pre-authentication encodings of types
// that begin with application/vnd.betrace., which KeyService::sign() refuses.
class StatementSigner {
 public:
  virtual ~StatementSigner() = default;
  // Writes the bytes of statement `index`, which name the key that signs them.
  using Statement = std::function<void(std::size_t index, const KeyId& key, WipedBytes& out)>;
  // One signature for each of `count` statements, in order. `statement` may be called more than
  // once for an index, when the key was replaced meanwhile. Thread-safe. Errors: as those of
  // KeyService::sign().
  virtual void sign_statements(CallContext call, const TenantId& tenant, std::size_t count,
                               Statement statement, Done<std::vector<Result<Signature>>> done) = 0;
};

struct SpanVerdict {
  bool valid = false;
  // "Signature valid", "Signature invalid or tampered", or another reason.
  std::string message;
  // As the span says; empty where it does not, or is none.
  std::string tenant, timestamp, key_id;
  std::optional<KeyState> key_state;  // of a key that is the tenant's
};

class Evidence {
 public:
  virtual ~Evidence() = default;

  // One item or many, as the document had them.
  template <class T>
  struct Items {
    bool batch = false;
    std::vector<T> items;
  };

  // `document` is the JSON {"span":{…}} or {"spans":[…]}, at most 1,000, of any tenants; a view,
  // which must stay valid until `done`. Each item is the signed span in its RFC 8785 form, or why
  // there is none: one bad span does not sink the rest. A span that came signed is answered as it
  // is when its signature is valid. Errors of the whole: malformed_json, invalid_argument. Errors
  // of an item: invalid_argument, permission_denied, invalid_signature, and those of
  // KeyService::sign().
  virtual void sign_spans(CallContext call, std::string_view document,
                          Done<Items<Result<WipedString>>> done) = 0;
  // The same document, or the older {"spanAttributes":{…},"signature":"…"}. What cannot be verified
  // is a verdict that says why. Errors of an item: permission_denied, and those of
  // KeyService::verify() that say nothing about the span (store_unavailable, overloaded, corrupt).
  virtual void verify_spans(CallContext call, std::string_view document,
                            Done<Items<Result<SpanVerdict>>> done) = 0;
};

// A request of OTLP/HTTP (https://opentelemetry.io/docs/specs/otlp/) as it came, in views.
enum class StreamSignal : std::uint8_t { traces, logs };
struct StreamRequest {
  StreamSignal signal = StreamSignal::traces;
  std::string_view content_type, content_encoding, body;
};
struct StreamAnswer {
  std::string_view content_type;
  std::string body;
};

// Signs compliance spans and log records on their way through a pipeline, and passes the rest.
class EvidenceStream {
 public:
  virtual ~EvidenceStream() = default;
  // `done` is called when all of it is on the disk, with what OTLP answers then; the request must
  // stay valid until then. What cannot be signed goes on with the status signing_failed. Errors:
  // invalid_argument, malformed_json, payload_too_large; overloaded and store_unavailable, after
  // which the sender tries again.
  virtual void take(CallContext call, StreamRequest request, Done<StreamAnswer> done) = 0;
};

// The log of signed evidence, for those who read it: proofs that a span is in it, that it only ever
// grew, and whole bundles for somebody without a network. Hashes are SHA-256 as in RFC 6962. Every
// call blocks. Errors of all: store_unavailable when the log cannot be used; corrupt; those of the
// provider when the log's key has yet to be opened.
class EvidenceArchive {
 public:
  using Hash = std::array<std::uint8_t, 32>;
  struct Inclusion {
    std::uint64_t index = 0, size = 0;
    Hash leaf{};
    std::vector<Hash> proof;
    std::string checkpoint;  // of `size`, a signed note
  };
  struct Consistency {
    std::uint64_t first = 0, second = 0;
    std::vector<Hash> proof;
    std::string checkpoint;  // of `second`
  };
  // Inclusive and exclusive; as evidence says of itself in `timestamp`.
  struct Period {
    std::optional<SystemTime> from, to;
  };
  struct BundleHead {
    std::string line;                  // the first line of the bundle
    std::uint64_t begin = 0, end = 0;  // of the leaves that follow, one to a line
  };

  virtual ~EvidenceArchive() = default;
  // The key of checkpoints, "name+hash+base64" (C2SP signed-note).
  virtual Result<std::string> log_key() = 0;
  // Made now when the log has grown. Errors: not_found when the tenant has no evidence.
  virtual Result<std::string> checkpoint(const TenantId& tenant) = 0;
  // By index or by the hash of the leaf. Errors: not_found when it is not in the log.
  virtual Result<Inclusion> inclusion(const TenantId& tenant, std::uint64_t index) = 0;
  virtual Result<Inclusion> inclusion(const TenantId& tenant, const Hash& leaf) = 0;
  // Errors: invalid_argument when the log has never had `first` leaves.
  virtual Result<Consistency> consistency(const TenantId& tenant, std::uint64_t first) = 0;
  // Leaves [begin, end), from the first on as many as `bytes_max` allows, at least one.
  virtual Result<std::vector<std::string>> leaves(const TenantId& tenant, std::uint64_t begin,
                                                  std::uint64_t end, std::size_t bytes_max) = 0;
  // All leaves whose time is in the period, those between them, and what proves them. With the
  // proof that the log continues the one of `held` leaves. Errors: not_found; invalid_argument.
  virtual Result<BundleHead> bundle_head(const CallContext& call, const TenantId& tenant,
                                         const Period& period,
                                         std::optional<std::uint64_t> held) = 0;
};

}  // namespace betrace::kms
