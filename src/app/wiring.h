// Puts the rooms together: the only place that sees all of them. Core is the service without a
// network, Front the way into it over HTTP. Each starts whole or not at all, and ends in the
// reverse order of its beginning.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "betrace/kms/key_service.h"
#include "betrace/kms/result.h"
#include "betrace/kms/secret_bytes.h"

#include "app/config.h"

namespace betrace::kms {

class Core {
 public:
  // Opens the store and makes the provider, which need not be reachable; from here on verbs work.
  // Errors: invalid_argument and not_implemented name the key at fault; store_unavailable.
  static Result<std::unique_ptr<Core>> open(const Config& config);
  // Starts what runs by itself: probe, housekeeping, warming.
  void start(const Config& config);
  // Runs what is queued. Nobody may be inside a verb that has yet to begin.
  ~Core();

  KeyService& keys();
  std::string store_description() const;

  struct Parts;
  Parts& parts() { return *parts_; }

 private:
  explicit Core(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct AdminAccess {
  SecretBytes token;
  std::string place;  // where people find it, e.g. "the file /var/lib/betrace-kms/admin-token"
};

class Front {
 public:
  // Listens. `core` must outlive it. Errors: invalid_argument names the address or the certificate
  // that cannot be used, and why.
  static Result<std::unique_ptr<Front>> start(Core& core, const Config& config, AdminAccess access);
  ~Front();

  // "http://127.0.0.1:8080", as bound.
  const std::vector<std::string>& addresses() const;
  // Takes no new connections and waits for what is in flight. False when some of it did not end in
  // time.
  bool drain(std::chrono::milliseconds timeout);
  // Reads the certificate anew. On error the old one stays.
  Status reload_tls();

 private:
  struct Parts;
  explicit Front(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace betrace::kms
