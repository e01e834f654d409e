// The whole service inside a program of one's own, without the daemon: configured by the same keys
// as application.properties. The program `betrace-kms` is the same code behind HTTP.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "betrace/kms/key_service.h"
#include "betrace/kms/provider.h"
#include "betrace/kms/result.h"

namespace betrace::kms {

class Service {
 public:
  // Starts threads, opens the store; the provider need not be reachable. Errors: invalid_argument
  // names the key, its value and what would be accepted; store_unavailable.
  static Result<std::unique_ptr<Service>> open(const std::map<std::string, std::string>& settings);
  virtual ~Service() = default;  // finishes what was begun
  virtual KeyService& keys() = 0;
};

// The program `betrace-kms` with its arguments: for a main() that registers a provider of its own
// first. Answers the exit code.
int run_program(int argc, char** argv);

}  // namespace betrace::kms
