// A compliance span: what is accepted, and which bytes are signed. docs/evidence-format.md is the
// same for people. Values; a span points into the document it was parsed from.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "betrace/kms/clock.h"
#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"
#include "betrace/kms/signer.h"
#include "betrace/kms/tenant.h"

#include "evidence/frameworks.h"

namespace betrace::kms {

inline constexpr std::string_view span_type = "application/vnd.betrace.compliance-span.v1+json";
// Of a span without a signature of its own: its place in the log stands for one.
inline constexpr std::string_view status_logged = "logged";

// RFC 3339 with any offset and fraction, to the millisecond; nothing when it is malformed.
std::optional<SystemTime> rfc3339_time(std::string_view text);

// An object's fields in their RFC 8785 form and order, to be joined with further ones.
class CanonicalFields {
 public:
  struct Extra {
    std::string_view name;
    std::string_view text;  // of a string that needs no escapes
  };
  // All but `without`; the empty name is a name.
  explicit CanonicalFields(const boost::json::object& object,
                           std::optional<std::string_view> without = std::nullopt);
  // The object with `extras`, which are in order and not among the fields.
  void append_to(WipedString& out, std::initializer_list<Extra> extras = {}) const;

 private:
  struct Field {
    std::string_view name;
    std::size_t begin, end;
  };
  WipedString text_;
  std::vector<Field> fields_;
};

// A span that nobody has signed.
class ComplianceSpan {
 public:
  // Errors: invalid_argument, naming the field and what is accepted.
  static Result<ComplianceSpan> parse(const boost::json::object& object,
                                      const Frameworks& frameworks);

  const TenantId& tenant() const { return tenant_; }
  // DSSE pre-authentication encoding, of span_type, of the signed span without its signature.
  void write_statement(const KeyId& key, WipedBytes& out) const;
  WipedString signed_json(const KeyId& key, const SignatureBytes& signature) const;
  // The leaf of a span whose place in the log stands for a signature.
  WipedString logged_json() const;

 private:
  ComplianceSpan(TenantId tenant, CanonicalFields fields)
      : tenant_(std::move(tenant)), fields_(std::move(fields)) {}
  TenantId tenant_;
  CanonicalFields fields_;
};

// A span that says it was signed, as far as that can be told without keys.
struct SignedSpan {
  std::string tenant, timestamp, key_text;  // as the span says; empty where it does not
  // Why it cannot be verified; empty: the rest is there.
  std::string fault;
  std::optional<TenantId> owner;
  KeyId key;
  SignatureBytes signature{};
  WipedBytes statement;

  // Never fails: what is wrong is in `fault`.
  static SignedSpan parse(const boost::json::object& object);
};

// A span that says where in its tenant's log it is, and has no signature.
struct LoggedSpan {
  std::string tenant, timestamp;  // as the span says; empty where it does not
  std::string fault;              // as of a SignedSpan
  std::optional<TenantId> owner;
  std::uint64_t index = 0;
  WipedString leaf;  // what the log has there

  static bool is_one(const boost::json::object& object);
  // With `index` the object is a leaf, which does not say its own. Never fails.
  static LoggedSpan parse(const boost::json::object& object,
                          std::optional<std::uint64_t> index = std::nullopt);
};

}  // namespace betrace::kms
