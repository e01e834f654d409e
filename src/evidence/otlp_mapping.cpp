#include "evidence/otlp_mapping.h"

#include <chrono>
#include <utility>

#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/encoding.h"
#include "base/try.h"
#include "evidence/span.h"

namespace betrace::kms {
namespace {

// Everything that begins so is ours, and is not signed.
constexpr std::string_view ours = "betrace.signature";
constexpr std::string_view value_name = "betrace.signature", key_name = "betrace.signature.key_id",
                           algorithm_name = "betrace.signature.algorithm",
                           status_name = "betrace.signature.status",
                           index_name = "betrace.signature.leaf_index",
                           log_name = "betrace.signature.log";

struct Mapped {
  std::string_view attribute, field;
};
constexpr Mapped fields[] = {{"compliance.framework", "framework"},
                             {"compliance.control", "control"},
                             {"compliance.evidence_type", "evidenceType"},
                             {"compliance.outcome", "outcome"},
                             {"compliance.tenant_id", "tenantId"}};

// RFC 3339 with nanoseconds.
std::string timestamp_of(std::uint64_t nanoseconds) {
  constexpr std::uint64_t second = 1'000'000'000;
  const SystemTime whole(std::chrono::seconds(nanoseconds / second));
  auto text = rfc3339(whole);
  text.resize(text.find('.'));
  return fmt::format("{}.{:09}Z", text, nanoseconds % second);
}

}  // namespace

bool is_compliance_item(const OtlpRequest& request, std::size_t item) {
  return request.has_attribute(item, "compliance.framework") &&
         request.has_attribute(item, "compliance.control");
}

bool carries_signature(const OtlpRequest& request, std::size_t item) {
  return request.has_attribute(item, value_name);
}

bool carries_place(const OtlpRequest& request, std::size_t item) {
  return !carries_signature(request, item) &&
         (request.text_attribute(item, status_name) == status_logged ||
          request.has_attribute(item, index_name) || request.has_attribute(item, log_name));
}

std::string_view log_of_place(const OtlpRequest& request, std::size_t item) {
  return request.text_attribute(item, log_name).value_or("");
}

Result<boost::json::object> compliance_span_of(const OtlpRequest& request, std::size_t item,
                                               boost::json::storage_ptr memory) {
  boost::json::object span(memory);
  for (const auto& [attribute, field] : fields) {
    if (const auto text = request.text_attribute(item, attribute)) {
      span.emplace(field, *text);
    } else if (request.has_attribute(item, attribute)) {
      return fail(ErrorCode::invalid_argument, fmt::format("{}: it is not a string", attribute));
    } else if (field == "tenantId") {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: it is missing, and says whose key signs", attribute));
    }
  }
  const auto time = request.time(item);
  if (time == 0) return fail(ErrorCode::invalid_argument, "the item says no time");
  span.emplace("timestamp", timestamp_of(time));
  for (const auto& [name, id] :
       {std::pair("traceId", request.trace_id(item)), std::pair("spanId", request.span_id(item))}) {
    if (!id.empty()) span.emplace(name, id);
  }
  span.emplace("otel", TRY(request.describe(item, ours, memory)));
  const auto take = [&](std::initializer_list<Mapped> ours_of_it) {
    for (const auto& [attribute, field] : ours_of_it) {
      if (const auto text = request.text_attribute(item, attribute)) span.emplace(field, *text);
    }
  };
  if (carries_signature(request, item)) {
    take({{value_name, "signature"},
          {key_name, "keyId"},
          {algorithm_name, "algorithm"},
          {status_name, "status"}});
  } else if (carries_place(request, item)) {
    take({{status_name, "status"},
          {index_name, "leafIndex"},
          {key_name, "keyId"},
          {algorithm_name, "algorithm"}});
  }
  return span;
}

void set_signature(OtlpRequest& request, std::size_t item, const KeyId& key,
                   const SignatureBytes& signature) {
  request.remove_attributes(item, ours);
  request.set_attribute(item, value_name, base64_encode(signature));
  request.set_attribute(item, key_name, key.str());
  request.set_attribute(item, algorithm_name, "Ed25519");
  request.set_attribute(item, status_name, "signed");
}

void set_place(OtlpRequest& request, std::size_t item, std::string_view log, std::uint64_t index) {
  request.remove_attributes(item, ours);
  request.set_attribute(item, status_name, status_logged);
  request.set_attribute(item, index_name, std::to_string(index));
  request.set_attribute(item, log_name, log);
}

void set_signing_failed(OtlpRequest& request, std::size_t item) {
  const bool attested = carries_signature(request, item) || carries_place(request, item);
  if (!attested) request.remove_attributes(item, ours);
  request.set_attribute(item, status_name, "signing_failed");
}

}  // namespace betrace::kms
