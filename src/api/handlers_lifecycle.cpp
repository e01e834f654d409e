// The ends of keys: revoke, destroy a version, destroy a tenant.
#include <string>

#include <fmt/format.h>

#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/key_views.h"
#include "api/query.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

Result<std::string> read_reason(const Request& request) {
  JsonDocument document;
  JsonValue reason = nullptr;
  TRY(read_body(request, document, {{"reason", &reason}}));
  return sentence_field("reason", reason);
}

Result<bool> read_unused(const Request& request) {
  TRY(check_no_fields(request));
  return TRY(QueryString::read(request.query)).flag("unused");
}

// The tenant's name said twice, so that no slip of the hand destroys anything.
Status check_confirmed(const Request& request, const TenantId& tenant) {
  TRY(check_no_fields(request));
  const auto query = TRY(QueryString::read(request.query));
  const auto confirm = query.find("confirm");
  if (confirm && *confirm == tenant.str()) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("this destroys every key of the tenant, and nothing encrypted for it can "
                          "be decrypted again; to confirm, send DELETE /api/tenants/{}?confirm={}",
                          percent_encode(tenant.str()), percent_encode(tenant.str())));
}

void write_revocation(const TenantId& tenant, const Revocation& revocation, JsonWriter& out) {
  out.begin_object();
  out.key("tenantId").string(tenant.str());
  out.key("revoked");
  write_key(revocation.revoked, out);
  out.key("successor");
  if (revocation.successor) {
    write_key(*revocation.successor, out);
  } else {
    out.null();
  }
  out.end_object();
}

void write_destruction(const Destruction& destruction, JsonWriter& out) {
  out.begin_object();
  out.key("tenantId").string(destruction.tenant.str());
  out.key("destroyedAt").time(destruction.destroyed_at);
  out.key("destroyed").begin_object();
  out.key("signing").integer(static_cast<std::int64_t>(destruction.signing_keys));
  out.key("encryption").integer(static_cast<std::int64_t>(destruction.encryption_keys));
  out.end_object();
  out.key("pending").boolean(destruction.pending);
  out.key("certificate");
  if (destruction.certificate.empty()) {
    out.null();
  } else {
    out.verbatim(destruction.certificate);
  }
  out.end_object();
}

}  // namespace

namespace handlers {

void revoke(ExchangePtr exchange) {
  auto reason = read_reason(exchange->request());
  if (!reason) return refuse(std::move(exchange), std::move(reason).error());
  const auto& now = *exchange;
  now.api().lifecycle.revoke(
      now.call(), now.tenant(), now.key_id(), *std::move(reason),
      [exchange = std::move(exchange)](Result<Revocation> revocation) mutable {
        if (!revocation) return refuse(std::move(exchange), std::move(revocation).error());
        JsonWriter body(768);
        write_revocation(exchange->tenant(), *revocation, body);
        answer(std::move(exchange), std::move(body));
      });
}

void destroy_key(ExchangePtr exchange) {
  auto unused = read_unused(exchange->request());
  if (!unused) return refuse(std::move(exchange), std::move(unused).error());
  const auto& now = *exchange;
  now.api().lifecycle.destroy_key(now.call(), now.tenant(),
                                  {.key = now.key_id(), .unused = *unused},
                                  [exchange = std::move(exchange)](Result<KeyRecord> key) mutable {
                                    if (!key)
                                      return refuse(std::move(exchange), std::move(key).error());
                                    JsonWriter body(384);
                                    write_key(*key, body);
                                    answer(std::move(exchange), std::move(body));
                                  });
}

void destroy_tenant(ExchangePtr exchange) {
  if (auto confirmed = check_confirmed(exchange->request(), exchange->tenant()); !confirmed) {
    return refuse(std::move(exchange), std::move(confirmed).error());
  }
  const auto& now = *exchange;
  now.api().lifecycle.destroy_tenant(
      now.call(), now.tenant(),
      [exchange = std::move(exchange)](Result<Destruction> destruction) mutable {
        if (!destruction) return refuse(std::move(exchange), std::move(destruction).error());
        JsonWriter body(512 + destruction->certificate.size());
        write_destruction(*destruction, body);
        answer(std::move(exchange), std::move(body));
      });
}

}  // namespace handlers
}  // namespace betrace::kms
