#include "evidence/span.h"

#include <algorithm>

#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

using boost::json::object;

constexpr std::string_view ed25519 = "Ed25519", status_signed = "signed";

std::optional<std::string_view> text_of(const object& span, std::string_view name) {
  const auto* value = span.if_contains(name);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string_view(value->get_string());
}

bool all_of_class(std::string_view text, bool (*is_of_class)(char)) {
  return std::ranges::all_of(text, is_of_class);
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

// RFC 3339, section 5.6, with any offset and any number of decimals; capital T and Z.
bool is_timestamp(std::string_view text) {
  constexpr std::string_view shape = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < shape.size() + 1) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 'd' ? !is_digit(text[i]) : text[i] != shape[i]) return false;
  }
  const auto number = [&](std::size_t at) { return (text[at] - '0') * 10 + (text[at + 1] - '0'); };
  const int month = number(5), day = number(8);
  const std::chrono::year_month_day date{std::chrono::year(number(0) * 100 + number(2)),
                                         std::chrono::month(unsigned(month)),
                                         std::chrono::day(unsigned(day))};
  if (!date.ok() || number(11) > 23 || number(14) > 59 || number(17) > 60) return false;
  auto rest = text.substr(shape.size());
  if (rest.starts_with('.')) {
    const auto end = std::min(rest.find_first_not_of("0123456789", 1), rest.size());
    if (end == 1) return false;
    rest.remove_prefix(end);
  }
  if (rest == "Z") return true;
  return rest.size() == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':' &&
         all_of_class(rest.substr(1, 2), is_digit) && all_of_class(rest.substr(4), is_digit) &&
         rest.substr(1, 2) <= "23" && rest.substr(4) <= "59";
}

std::unexpected<Error> refuse(std::string_view field, std::string_view why) {
  return fail(ErrorCode::invalid_argument, fmt::format("{}: {}", field, why));
}

Result<std::string_view> needed(const object& span, std::string_view name) {
  const auto text = text_of(span, name);
  if (text && !text->empty()) return *text;
  return refuse(name, span.contains(name) ? "accepted is a string that is not empty"
                                          : "it is missing, and a compliance span needs it");
}

Status check_hex(const object& span, std::string_view name, std::size_t digits) {
  if (!span.contains(name)) return {};
  const auto text = text_of(span, name);
  if (text && text->size() == digits && all_of_class(*text, is_hex)) return {};
  return refuse(name, fmt::format("accepted are {} hexadecimal digits in lower case", digits));
}

Status check_optional_fields(const object& span) {
  for (const std::string_view name : {"evidenceType", "outcome"}) {
    if (span.contains(name)) TRY(needed(span, name));
  }
  TRY(check_hex(span, "traceId", 32));
  TRY(check_hex(span, "spanId", 16));
  const auto* metadata = span.if_contains("metadata");
  if (metadata != nullptr && !metadata->is_object()) {
    return refuse("metadata", "accepted is an object");
  }
  return {};
}

void append_encoded(const WipedString& json, WipedBytes& out) {
  const auto encoded = dsse_encode(span_type, as_bytes(json));
  out.assign(encoded.begin(), encoded.end());
}

}  // namespace

std::optional<SystemTime> rfc3339_time(std::string_view text) {
  if (!is_timestamp(text)) return std::nullopt;
  std::chrono::minutes offset{};
  const auto zone = text.size() - 6;
  std::string local(text.substr(0, text.back() == 'Z' ? text.size() - 1 : zone));
  if (text.back() != 'Z') {
    const auto number = [&](std::size_t at) {
      return (text[at] - '0') * 10 + (text[at + 1] - '0');
    };
    offset = std::chrono::hours(number(zone + 1)) + std::chrono::minutes(number(zone + 4));
    if (text[zone] == '-') offset = -offset;
  }
  const bool leap = local.substr(17, 2) == "60";  // the second that follows
  if (leap) local.replace(17, 2, "59");
  const auto time = parse_utc_time(local + "Z");
  if (!time) return std::nullopt;
  return *time - offset + std::chrono::seconds(leap ? 1 : 0);
}

CanonicalFields::CanonicalFields(const object& from, std::optional<std::string_view> without) {
  fields_.reserve(from.size());
  std::vector<const boost::json::key_value_pair*> members;
  members.reserve(from.size());
  for (const auto& member : from) {
    if (std::string_view(member.key()) != without) members.push_back(&member);
  }
  std::ranges::sort(members, canonical_less,
                    [](const auto* member) -> std::string_view { return member->key(); });
  for (const auto* member : members) {
    const auto begin = text_.size();
    append_json_string(member->key(), text_);
    text_ += ':';
    append_canonical_json(member->value(), text_);
    fields_.push_back({member->key(), begin, text_.size()});
  }
}

void CanonicalFields::append_to(WipedString& out, std::initializer_list<Extra> extras) const {
  out += '{';
  const auto* extra = extras.begin();
  const auto comma = [&] {
    if (out.back() != '{') out += ',';
  };
  const auto write_extras_before = [&](std::string_view name, bool all) {
    for (; extra != extras.end() && (all || canonical_less(extra->name, name)); ++extra) {
      comma();
      append_json_string(extra->name, out);
      out += ':';
      append_json_string(extra->text, out);
    }
  };
  for (const auto& field : fields_) {
    write_extras_before(field.name, false);
    comma();
    out.append(text_, field.begin, field.end - field.begin);
  }
  write_extras_before({}, true);
  out += '}';
}

Result<ComplianceSpan> ComplianceSpan::parse(const object& span, const Frameworks& frameworks) {
  for (const std::string_view name : {"signature", "keyId", "algorithm", "status"}) {
    if (span.contains(name)) {
      return refuse(name, "it is the service's to write, and the span has no signature");
    }
  }
  const auto framework = TRY(needed(span, "framework"));
  const auto control = TRY(needed(span, "control"));
  TRY(frameworks.check(framework, control));
  auto tenant = TenantId::parse(TRY(needed(span, "tenantId")));
  if (!tenant) return refuse("tenantId", tenant.error().message);
  if (!is_timestamp(TRY(needed(span, "timestamp")))) {
    return refuse("timestamp", "accepted is RFC 3339, e.g. 2026-11-26T21:00:00.123Z");
  }
  TRY(check_optional_fields(span));
  return ComplianceSpan(*std::move(tenant), CanonicalFields(span));
}

void ComplianceSpan::write_statement(const KeyId& key, WipedBytes& out) const {
  WipedString json;
  const auto key_text = key.str();
  fields_.append_to(json, {{"algorithm", ed25519}, {"keyId", key_text}, {"status", status_signed}});
  append_encoded(json, out);
}

WipedString ComplianceSpan::signed_json(const KeyId& key, const SignatureBytes& signature) const {
  WipedString json;
  const auto key_text = key.str();
  const auto signature_text = base64_encode(signature);
  fields_.append_to(json, {{"algorithm", ed25519},
                           {"keyId", key_text},
                           {"signature", signature_text},
                           {"status", status_signed}});
  return json;
}

WipedString ComplianceSpan::logged_json() const {
  WipedString json;
  fields_.append_to(json, {{"status", status_logged}});
  return json;
}

SignedSpan SignedSpan::parse(const object& span) {
  SignedSpan made{.tenant = std::string(text_of(span, "tenantId").value_or("")),
                  .timestamp = std::string(text_of(span, "timestamp").value_or("")),
                  .key_text = std::string(text_of(span, "keyId").value_or(""))};
  const auto faulty = [&](std::string fault) {
    made.fault = std::move(fault);
    return std::move(made);
  };
  const auto status = text_of(span, "status");
  if (!span.contains("signature")) {
    return faulty(!status || status == "unsigned" || status == status_signed
                      ? "Span is not signed"
                      : fmt::format("Span is not signed: its status is '{}'", *status));
  }
  if (status != status_signed) return faulty("Malformed: status is not 'signed'");
  if (text_of(span, "algorithm") != ed25519) {
    return faulty("Malformed: algorithm is not 'Ed25519'");
  }
  const auto signature = base64_decode(text_of(span, "signature").value_or(""));
  if (!signature || signature->size() != made.signature.size()) {
    return faulty("Malformed: signature is not 64 bytes in base64");
  }
  std::ranges::copy(*signature, made.signature.begin());
  auto key = KeyId::parse(made.key_text);
  if (!key || key->str() != made.key_text) return faulty("Malformed: keyId is not a key's id");
  made.key = *key;
  auto owner = TenantId::parse(made.tenant);
  if (!owner) return faulty("Malformed: tenantId is not a tenant's name");
  made.owner = *std::move(owner);
  WipedString json;
  CanonicalFields(span, "signature").append_to(json);
  append_encoded(json, made.statement);
  return made;
}

bool LoggedSpan::is_one(const object& span) { return text_of(span, "status") == status_logged; }

LoggedSpan LoggedSpan::parse(const object& span, std::optional<std::uint64_t> index) {
  LoggedSpan made{.tenant = std::string(text_of(span, "tenantId").value_or("")),
                  .timestamp = std::string(text_of(span, "timestamp").value_or(""))};
  const auto faulty = [&](std::string fault) {
    made.fault = std::move(fault);
    return std::move(made);
  };
  if (!is_one(span)) return faulty("Malformed: status is not 'logged'");
  for (const std::string_view name : {"signature", "keyId", "algorithm"}) {
    if (span.contains(name)) {
      return faulty(fmt::format("Malformed: it has '{}', and its status is 'logged'", name));
    }
  }
  const auto said = text_of(span, "leafIndex");
  if (index && span.contains("leafIndex")) return faulty("Malformed: a leaf has no leafIndex");
  if (!index) index = said ? parse_decimal(*said) : std::nullopt;
  if (!index) return faulty("Malformed: leafIndex is not a whole number in decimal text");
  made.index = *index;
  auto owner = TenantId::parse(made.tenant);
  if (!owner) return faulty("Malformed: tenantId is not a tenant's name");
  made.owner = *std::move(owner);
  CanonicalFields(span, "leafIndex").append_to(made.leaf);
  return made;
}

}  // namespace betrace::kms
