// What the fakes of providers' servers share: each request is kept for the test to look at, and
// troubles by order come instead of an answer. Never sleeps. Thread-safe.
#pragma once

#include <algorithm>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/http.h"
#include "base/json.h"

namespace betrace::kms {

class ScriptedHttp : public HttpClient {
 public:
  struct Trouble {
    std::string path;  // that the request's contains; empty: any
    int status = 500;
    Headers headers = {};
    std::string body = {};
    std::optional<Error> network = {};  // no answer at all
    std::chrono::milliseconds delay{};  // longer than the call's timeout: kms_timeout
    int times = 1;
  };
  struct Seen {
    std::string method, url, path, body;  // the path with its query
    Headers headers;

    std::string header(std::string_view name) const {
      const auto found = std::ranges::find(headers, name, &Headers::value_type::first);
      return found == headers.end() ? "" : found->second;
    }
    // Of a JSON body.
    std::string field(std::string_view name) const {
      JsonDocument document;
      if (!document.parse(body) || !document.root().is_object()) return {};
      const auto* found = document.root().get_object().if_contains(name);
      return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
    }
  };

  void add_trouble(Trouble trouble) {
    const std::lock_guard lock(mutex_);
    troubles_.push_back(std::move(trouble));
  }
  std::vector<Seen> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  std::size_t count(std::string_view path_part) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::ranges::count_if(
        seen_, [&](const Seen& each) { return each.path.contains(path_part); }));
  }

  Result<HttpAnswer> send(const HttpCall& call) final {
    const std::lock_guard lock(mutex_);
    Seen one{.method = call.method,
             .url = call.url,
             .path = call.url.substr(std::min(call.url.find('/', 8), call.url.size())),
             .body = std::string(std::string_view(call.body)),
             .headers = call.headers};
    seen_.push_back(one);
    const auto trouble = std::ranges::find_if(
        troubles_, [&](const Trouble& each) { return one.path.contains(each.path); });
    if (trouble == troubles_.end()) return answer(one);
    auto now = *trouble;
    if (--trouble->times == 0) troubles_.erase(trouble);
    if (now.network) return std::unexpected(*std::move(now.network));
    if (now.delay > call.timeout) return fail(ErrorCode::kms_timeout, "timed out");
    if (now.body.size() > call.answer_bytes_max) {
      return fail(ErrorCode::kms_unavailable, "the answer is too large");
    }
    auto made = json(now.status, now.body);
    made.headers = std::move(now.headers);
    return made;
  }

 protected:
  // Under the lock.
  virtual Result<HttpAnswer> answer(const Seen& seen) = 0;
  static HttpAnswer json(int status, std::string_view body) {
    HttpAnswer answer{.status = status};
    answer.body = body;
    return answer;
  }
  mutable std::mutex mutex_;

 private:
  std::deque<Trouble> troubles_;
  std::vector<Seen> seen_;
};

}  // namespace betrace::kms
