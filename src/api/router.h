// The one way in: finds the row, authenticates, authorises, bounds what is in flight, and after the
// handler counts, times and audits, so that no handler does any of it. Thread-safe; handle() and
// limits() are called on the I/O threads and do not block.
//
// It and its parts must outlive every request it has taken: stop the server, wait until
// in_flight() is zero, then destroy.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "api/api.h"
#include "api/rate_limits.h"
#include "api/request_identity.h"
#include "api/route.h"
#include "base/http.h"

namespace prometheus {
class Histogram;
}

namespace betrace::kms {

class ApiExchange;

class Router final : public HttpApplication {
 public:
  explicit Router(ApiParts parts);
  ~Router() override;

  Limits limits(const Request& head) const override;
  void handle(Reply reply) override;
  Response refuse(ErrorCode code, std::string_view detail) override;

  // From now on /q/health/ready is DOWN and new work is refused with 503; health and metrics go on.
  void begin_shutdown() { shutting_down_ = true; }
  bool shutting_down() const { return shutting_down_; }
  // Requests taken and not yet answered, health and metrics not among them.
  std::size_t in_flight() const { return in_flight_; }

  const ApiParts& parts() const { return parts_; }
  RateLimits& rate_limits() { return rate_limits_; }
  std::chrono::steady_clock::time_point started_at() const { return started_at_; }

  // The end of every request; `outcome` is "ok" or the error's code.
  void finish(std::unique_ptr<ApiExchange> exchange, Response response, std::string_view outcome);

 private:
  friend class ApiExchange;

  Status admit(ApiExchange& exchange, const RouteTable::Match& match);
  Status authorize(ApiExchange& exchange) const;
  Status read_path(ApiExchange& exchange, const RouteTable::Match& match) const;
  Status take_from_limit(ApiExchange& exchange);
  Status record(const ApiExchange& exchange, int status, std::string_view outcome) const;
  void identify(ApiExchange& exchange);
  void begin_span(ApiExchange& exchange) const;
  void observe(const Route& route, int status, double seconds);
  prometheus::Histogram& histogram(const Route& route, int status);

  ApiParts parts_;
  RouteTable table_;
  std::chrono::steady_clock::time_point started_at_;
  std::atomic<bool> shutting_down_ = false;
  std::atomic<std::size_t> in_flight_ = 0;
  RequestIds request_ids_;
  RateLimits rate_limits_;
  // Per row and status, filled when first needed: the registry's own look-up takes a lock.
  std::vector<std::atomic<prometheus::Histogram*>> histograms_;
};

}  // namespace betrace::kms
