#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/key_views.h"
#include "api/query.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

Result<Page> read_page(std::string_view text) {
  const auto query = TRY(QueryString::read(text));
  return Page{.after = std::string(query.find("after").value_or("")),
              .limit = TRY(query.page_limit())};
}

void write_tenants(std::span<const TenantRecord> tenants, bool more, JsonWriter& out) {
  out.begin_object().key("tenants").begin_array();
  for (const auto& tenant : tenants) {
    out.begin_object();
    out.key("tenantId").string(tenant.id.str());
    out.key("createdAt").time(tenant.created_at);
    out.key("destroyed").boolean(tenant.destroyed);
    out.end_object();
  }
  out.end_array().key("next");
  more ? out.string(tenants.back().id.str()) : out.null();
  out.end_object();
}

void answer_tenant(ExchangePtr exchange, Result<TenantDescription> description) {
  if (!description) return refuse(std::move(exchange), std::move(description).error());
  JsonWriter body(768);
  write_tenant(*description, body);
  Response response;
  response.body = std::move(body).take();
  if (description->created) {
    response.status = 201;
    response.headers.emplace_back("Location",
                                  fmt::format("/api/tenants/{}", description->tenant.id.str()));
  }
  answer(std::move(exchange), std::move(response));
}

}  // namespace

namespace handlers {

void create_tenant(ExchangePtr exchange) {
  if (auto checked = check_no_fields(exchange->request()); !checked) {
    return refuse(std::move(exchange), std::move(checked).error());
  }
  const auto& now = *exchange;
  now.api().keys.create_tenant(
      now.call(), now.tenant(),
      [exchange = std::move(exchange)](Result<TenantDescription> created) mutable {
        answer_tenant(std::move(exchange), std::move(created));
      });
}

void describe_tenant(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().keys.describe_tenant(
      now.call(), now.tenant(),
      [exchange = std::move(exchange)](Result<TenantDescription> described) mutable {
        answer_tenant(std::move(exchange), std::move(described));
      });
}

void list_tenants(ExchangePtr exchange) {
  auto page = read_page(exchange->request().query);
  if (!page) return refuse(std::move(exchange), std::move(page).error());
  const auto limit = page->limit;
  ++page->limit;  // one more shows whether there is a next page
  const auto& now = *exchange;
  now.api().keys.list_tenants(
      now.call(), *std::move(page),
      [exchange = std::move(exchange), limit](Result<std::vector<TenantRecord>> tenants) mutable {
        if (!tenants) return refuse(std::move(exchange), std::move(tenants).error());
        const std::span<const TenantRecord> all = *tenants;
        const bool more = all.size() > limit;
        JsonWriter body(64 + all.size() * 112);
        write_tenants(all.first(std::min(all.size(), limit)), more, body);
        answer(std::move(exchange), std::move(body));
      });
}

void rotate(ExchangePtr exchange) {
  if (auto checked = check_no_fields(exchange->request()); !checked) {
    return refuse(std::move(exchange), std::move(checked).error());
  }
  const auto& now = *exchange;
  now.api().keys.rotate(
      now.call(), now.tenant(),
      [exchange = std::move(exchange)](Result<std::vector<KeyRecord>> keys) mutable {
        if (!keys) return refuse(std::move(exchange), std::move(keys).error());
        JsonWriter body(512);
        body.begin_object();
        body.key("tenantId").string(exchange->tenant().str());
        body.key("keys").begin_array();
        for (const auto& key : *keys) write_key(key, body);
        body.end_array().end_object();
        answer(std::move(exchange), std::move(body));
      });
}

}  // namespace handlers
}  // namespace betrace::kms
