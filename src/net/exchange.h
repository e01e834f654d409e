// One connection's request in the making and its answer, as bytes: no socket, no time of its own.
// It parses, holds every limit, and lays out the answer; the session around it moves the bytes.
// Buffers are kept between the requests of a connection while they are small, and wiped.
// Not thread-safe: a connection is driven by one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/http.h"
#include "net/read_buffer.h"
#include "net/request_parser.h"

namespace betrace::kms {

enum class Progress {
  need_more,        // read into room(), call received(), advance()
  continue_wanted,  // send "100 Continue", then advance()
  ready,            // request() is complete
  refused,          // see refusal(); nothing of this connection's input makes sense any more
};

struct Refusal {
  ErrorCode code = ErrorCode::invalid_argument;
  std::string detail;
};

class Exchange {
 public:
  struct Options {
    std::size_t header_bytes_max = 16 * 1024;
    bool peer_is_loopback = false;
    bool tls = false;
  };
  // `application` must outlive this.
  Exchange(const HttpApplication& application, Options options);

  std::span<char> room();
  void received(std::size_t count);
  // As far as the bytes go. `now` is when they arrived.
  Progress advance(std::chrono::steady_clock::time_point now);

  bool begun() const { return state_ != State::between; }
  bool in_body() const { return state_ == State::body || state_ == State::chunks; }
  const Request& request() const { return request_; }
  const Refusal& refusal() const { return refusal_; }

  // The answer in at most two pieces, valid until finish(). `close` ends the connection after it.
  std::array<std::string_view, 2> answer(Response response, bool close);
  // Whether the connection ends after the answer, for this or any other reason.
  bool closes() const { return closes_; }
  // The answer is out: wipes what belonged to the request.
  void finish();

 private:
  enum class State { between, head, body, chunks, complete };

  bool begin(std::chrono::steady_clock::time_point now);
  Progress parse_head();
  Progress begin_body();
  Progress parse_chunks();
  Progress refuse(ErrorCode code, std::string detail);
  void expose_head();
  void make_room(std::size_t bytes_min);

  const HttpApplication& application_;
  const Options options_;
  State state_ = State::between;
  ReadBuffer input_;
  std::optional<RequestParser> parser_;
  RequestHead head_;
  Request request_;
  std::size_t head_bytes_ = 0;  // of input_, parsed
  std::size_t body_bytes_in_input_ = 0;
  std::size_t body_bytes_ = 0;  // expected
  std::size_t body_bytes_have_ = 0;
  Refusal refusal_;
  Response response_;
  WipedString output_;
  bool closes_ = false;
};

}  // namespace betrace::kms
