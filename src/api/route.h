// One row of the table of endpoints, and the table as the router searches it. To add an endpoint:
// a row in routes.cpp, a handler, a test, its entry in openapi.json and in docs/api.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace betrace::kms {

class ApiExchange;

enum class Permission : std::uint8_t {
  none,            // anybody; answered even under overload and during shutdown
  anonymous_read,  // the token, or nobody in particular as betrace.admin.anonymous allows
  public_keys,     // the token, or anybody where betrace.kms.public-keys.anonymous is set
  bearer,          // the token
};

// What the router does for a row besides.
enum class Extra : std::uint8_t {
  none,
  rate_limited,  // counts against a limit of the tenant
  lease,         // its deadline is longer by the lease of a daemon
};

using Handler = void (*)(std::unique_ptr<ApiExchange> exchange);

struct Route {
  std::string_view method;
  std::string_view pattern;  // "/api/tenants/{id}/sign"
  std::string_view verb;     // for Authorizer and AuditSink
  Permission permission = Permission::bearer;
  std::size_t body_bytes_max = 0;
  std::chrono::milliseconds deadline{};
  bool mutates = false;
  Handler handler = nullptr;
  Extra extra = Extra::none;
};

std::span<const Route> routes();

// Finds rows by path without allocating. Immutable, thus thread-safe.
class RouteTable {
 public:
  explicit RouteTable(std::span<const Route> rows);

  struct Match {
    const Route* route = nullptr;  // null: no such path, or not with this method
    std::string_view id;           // the segment for {id}, not decoded
    std::string_view key_id;       // the segment for {keyId}
    bool path_exists = false;
  };
  // HEAD finds what GET would.
  Match find(std::string_view method, std::string_view path) const;
  // "GET, PUT": the methods of a path that exists.
  std::string allowed_methods(std::string_view path) const;
  std::size_t index_of(const Route& route) const {
    return static_cast<std::size_t>(&route - rows_.data());
  }

 private:
  struct Compiled {
    std::vector<std::string_view> segments;
  };
  std::span<const Route> rows_;
  std::vector<Compiled> compiled_;
};

}  // namespace betrace::kms
