// A terminal, an environment and a service that a test holds in its hands: streams are strings,
// the service is a function from call to answer.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "app/world.h"
#include "base/http.h"

namespace betrace::kms {

class FakeWorld {
 public:
  using Service = std::function<Result<HttpAnswer>(const HttpCall& call)>;

  std::istringstream in;
  std::ostringstream out, err;
  std::map<std::string, std::string, std::less<>> variables;
  std::vector<HttpCall> calls;
  bool out_is_terminal = false, err_is_terminal = false;
  std::chrono::milliseconds paused{};
  Service service = [](const HttpCall&) -> Result<HttpAnswer> {
    return fail(ErrorCode::kms_unavailable, "connection refused");
  };

  World world() {
    return {.in = in,
            .out = out,
            .err = err,
            .environment = [this](std::string_view name) -> std::optional<std::string> {
              const auto found = variables.find(name);
              if (found == variables.end()) return std::nullopt;
              return found->second;
            },
            .http_client = [this] { return std::make_unique<Client>(*this); },
            .out_is_terminal = out_is_terminal,
            .err_is_terminal = err_is_terminal,
            .pause = [this](std::chrono::milliseconds duration) { paused += duration; }};
  }

  // One after the other; the last one again and again.
  void answer_in_turn(std::vector<std::pair<int, std::string>> answers) {
    service = [answers, next = std::size_t{0}](const HttpCall&) mutable -> Result<HttpAnswer> {
      const auto& [status, body] = answers[std::min(next++, answers.size() - 1)];
      return HttpAnswer{.status = status, .headers = {}, .body = WipedString(body), .phases = {}};
    };
  }
  void answer(int status, std::string_view body) {
    service = [status, text = WipedString(body)](const HttpCall&) -> Result<HttpAnswer> {
      return HttpAnswer{.status = status, .headers = {}, .body = text, .phases = {}};
    };
  }

 private:
  class Client final : public HttpClient {
   public:
    explicit Client(FakeWorld& world) : world_(world) {}
    Result<HttpAnswer> send(const HttpCall& call) override {
      world_.calls.push_back(call);
      return world_.service(call);
    }

   private:
    FakeWorld& world_;
  };
};

}  // namespace betrace::kms
