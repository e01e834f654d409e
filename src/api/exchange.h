// One request on its way: what was asked, by whom, and the one right to answer it. Made by the
// router, handed to a handler, and from there perhaps into a continuation; whoever holds it ends it
// with answer() or refuse(), which count, time and audit it. Dropped, it answers 500.
// Not synchronised: one holder at a time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "api/api.h"
#include "api/json_writer.h"
#include "api/rate_limits.h"
#include "api/route.h"
#include "base/http.h"
#include "telemetry/trace.h"

namespace betrace::kms {

class Router;

// What larger bodies take to parse and sign would be felt by everybody else on an I/O thread.
inline constexpr std::size_t inline_body_bytes_max = 16 * 1024;

class ApiExchange {
 public:
  ApiExchange(Router& router, const Route& route, Reply reply);
  ~ApiExchange();
  ApiExchange(const ApiExchange&) = delete;
  ApiExchange& operator=(const ApiExchange&) = delete;

  const Request& request() const { return reply_.request(); }
  const Route& route() const { return route_; }
  const ApiParts& api() const;
  Router& router() const { return router_; }
  const CallContext& call() const { return call_; }
  // Of routes with {id}, and of others after set_tenant().
  const TenantId& tenant() const { return *tenant_; }
  bool has_tenant() const { return tenant_.has_value(); }
  void set_tenant(TenantId tenant) { tenant_ = std::move(tenant); }
  // Of routes with {keyId}.
  const KeyId& key_id() const { return key_id_; }
  // Whether the service is about to end: not ready, though alive.
  bool shutting_down() const;

  // Records that `verb` was done or refused on behalf of this request.
  Status audit(std::string_view verb, std::string_view outcome) const;

 private:
  friend class Router;

  Router& router_;
  const Route& route_;
  Reply reply_;
  CallContext call_;
  Span span_;
  std::optional<TenantId> tenant_;
  KeyId key_id_;
  std::string_view tenant_text_;                  // as it came in the path
  std::optional<RateLimits::Standing> standing_;  // of a tenant that is limited
  bool counted_ = false;                          // among the requests in flight
};

using ExchangePtr = std::unique_ptr<ApiExchange>;

void answer(ExchangePtr exchange, JsonWriter body, int status = 200);
void answer(ExchangePtr exchange, Response response);
void refuse(ExchangePtr exchange, Error error);
// The same with a body of another form than a problem.
void refuse_as(ExchangePtr exchange, const Error& error, std::string_view content_type,
               std::string_view body);

// Goes on with `work` on the heavy executor, or refuses with `overloaded` when that is full.
void run_heavy(ExchangePtr exchange, std::move_only_function<void(ExchangePtr)> work);

}  // namespace betrace::kms
