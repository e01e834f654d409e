// An HttpClient that remembers how its calls travelled, for doctor: the phases of the slowest one,
// and how far this machine's clock is from those that answered. Thread-safe.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

#include "betrace/kms/clock.h"

#include "base/http.h"

namespace betrace::kms {

class HttpObserver final : public HttpClient {
 public:
  struct Seen {
    std::optional<HttpPhases> slowest;
    std::optional<std::chrono::seconds> clock_skew;  // ours less theirs, of the last dated answer
  };

  HttpObserver(std::unique_ptr<HttpClient> inner, const Clock& clock)
      : inner_(std::move(inner)), clock_(clock) {}
  Result<HttpAnswer> send(const HttpCall& call) override;
  Seen seen() const;

 private:
  const std::unique_ptr<HttpClient> inner_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  Seen seen_;
};

}  // namespace betrace::kms
