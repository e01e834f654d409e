#include <vector>

#include "api/handlers.h"
#include "api/key_views.h"

namespace betrace::kms {
namespace {

void answer_public_keys(ExchangePtr exchange, std::string_view owner,
                        Result<std::vector<PublicKey>> keys) {
  if (!keys) return refuse(std::move(exchange), std::move(keys).error());
  const auto max_age = exchange->api().settings.rotation_max_age;
  JsonWriter body(64 + keys->size() * 2048);
  body.begin_object();
  body.key("tenantId").string(owner);
  body.key("keys").begin_array();
  for (const auto& key : *keys) write_public_key(key, max_age, body);
  body.end_array().end_object();
  answer(std::move(exchange), std::move(body));
}

// A reader of the set trusts every key in it: none that was revoked or destroyed.
bool is_trusted(const PublicKey& key) {
  return key.state == KeyState::active || key.state == KeyState::rotated;
}

}  // namespace

namespace handlers {

void public_keys(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().keys.public_keys(
      now.call(), now.tenant(),
      [exchange = std::move(exchange)](Result<std::vector<PublicKey>> keys) mutable {
        const auto owner = exchange->tenant().str();
        answer_public_keys(std::move(exchange), owner, std::move(keys));
      });
}

// The service has no key before it has a tenant.
void service_public_keys(ExchangePtr exchange) {
  const auto& now = *exchange;
  static const auto service = TenantId::service();
  now.api().keys.public_keys(
      now.call(), service,
      [exchange = std::move(exchange)](Result<std::vector<PublicKey>> keys) mutable {
        const bool none = !keys && (keys.error().code == ErrorCode::tenant_not_found ||
                                    keys.error().code == ErrorCode::key_not_found);
        if (none) keys.emplace();
        answer_public_keys(std::move(exchange), service.str(), std::move(keys));
      });
}

void jwks(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().keys.public_keys(
      now.call(), now.tenant(),
      [exchange = std::move(exchange)](Result<std::vector<PublicKey>> keys) mutable {
        if (!keys) return refuse(std::move(exchange), std::move(keys).error());
        JsonWriter body(32 + keys->size() * 192);
        body.begin_object().key("keys").begin_array();
        for (const auto& key : *keys) {
          if (is_trusted(key)) write_jwk(key, body);
        }
        body.end_array().end_object();
        Response response;
        response.content_type = "application/jwk-set+json";
        response.body = std::move(body).take();
        answer(std::move(exchange), std::move(response));
      });
}

}  // namespace handlers
}  // namespace betrace::kms
