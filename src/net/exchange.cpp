#include "net/exchange.h"

#include <algorithm>

#include <boost/beast/http/error.hpp>
#include <fmt/format.h>

#include "net/response_head.h"

namespace betrace::kms {
namespace http = boost::beast::http;
namespace {

constexpr std::size_t head_room_min = 512;
constexpr std::size_t chunk_room_min = 16 * 1024;
constexpr std::size_t chunk_line_max = 4096;
constexpr std::size_t body_step = 64 * 1024;
constexpr std::size_t kept_max = 4096;        // of a buffer between two requests
constexpr std::size_t copied_max = 8 * 1024;  // of a body behind its head, to be one piece

void empty(WipedString& text) {
  if (text.capacity() > kept_max) {
    WipedString().swap(text);
  } else {
    wipe(text.data(), text.size());
    text.clear();
  }
}

// Origin form of a target in absolute form (RFC 9112, section 3.2.2).
std::string_view origin_form(std::string_view target) {
  if (target.starts_with('/')) return target;
  const auto scheme = target.find("://");
  if (scheme == std::string_view::npos) return target;
  const auto path = target.find_first_of("/?", scheme + 3);
  return path == std::string_view::npos ? "/" : target.substr(path);
}

}  // namespace

Exchange::Exchange(const HttpApplication& application, Options options)
    : application_(application), options_(options) {
  request_.peer_is_loopback = options.peer_is_loopback;
  request_.tls = options.tls;
}

std::span<char> Exchange::room() {
  if (state_ == State::body) {
    auto& body = request_.body;
    // In steps, so that a length alone takes no memory.
    if (body.size() == body_bytes_have_) {
      body.resize(std::min(body_bytes_, std::max(body_step, 2 * body_bytes_have_)));
    }
    return {body.data() + body_bytes_have_, body.size() - body_bytes_have_};
  }
  const auto room_min = state_ == State::chunks ? chunk_room_min : head_room_min;
  if (state_ == State::between) input_.shrink();
  const auto* before = input_.text().data();
  const auto room = input_.prepare(room_min);
  const auto* after = input_.text().data();
  if (before != after && state_ != State::between) {
    head_.rebase(before, after);
    expose_head();
  }
  return room;
}

void Exchange::received(std::size_t count) {
  if (state_ == State::body) {
    body_bytes_have_ += count;
  } else {
    input_.commit(count);
  }
}

Progress Exchange::advance(std::chrono::steady_clock::time_point now) {
  switch (state_) {
    case State::between:
      if (!begin(now)) return Progress::need_more;
      [[fallthrough]];
    case State::head:
      return parse_head();
    case State::body:
      if (body_bytes_have_ < body_bytes_) return Progress::need_more;
      state_ = State::complete;
      return Progress::ready;
    case State::chunks:
      return parse_chunks();
    case State::complete:
      break;
  }
  return Progress::ready;
}

bool Exchange::begin(std::chrono::steady_clock::time_point now) {
  // Some clients send an empty line after a body (RFC 9112, section 2.2).
  while (input_.text().starts_with("\r\n")) input_.consume(2);
  if (input_.empty() || input_.text() == "\r") return false;
  parser_.emplace(head_, request_.body);
  request_.received_at = now;
  state_ = State::head;
  return true;
}

Progress Exchange::parse_head() {
  const auto text = input_.text();
  boost::beast::error_code ec;
  head_bytes_ += parser_->feed(text.substr(head_bytes_), ec);
  const auto bytes_max = options_.header_bytes_max;
  const auto need_more = ec == http::error::need_more;
  if (head_bytes_ > bytes_max || (need_more && text.size() >= bytes_max)) {
    return refuse(ErrorCode::header_too_large,
                  fmt::format("the head of the request is larger than {} bytes", bytes_max));
  }
  if (need_more) return Progress::need_more;
  if (ec == http::error::header_limit) {
    return refuse(ErrorCode::header_too_large,
                  fmt::format("the request has more than {} headers", RequestParser::headers_max));
  }
  if (ec) {
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("malformed request head: {}", ec.message()));
  }
  if (const auto* objection = parser_->objection()) {
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("malformed request head: {}", objection));
  }
  expose_head();
  return begin_body();
}

void Exchange::expose_head() {
  request_.method = head_.method;
  request_.target = head_.target;
  const auto target = origin_form(head_.target);
  const auto mark = target.find('?');
  request_.path = target.substr(0, mark);
  request_.query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  if (request_.path.empty()) request_.path = "/";
  request_.headers = head_.headers;
}

Progress Exchange::begin_body() {
  const auto limit = application_.limits(request_).body_bytes_max;
  const auto behind_head = input_.text().substr(head_bytes_);
  if (parser_->chunked()) {
    parser_->body_limit(limit);
    state_ = State::chunks;
  } else {
    const auto length = parser_->content_length().value_or(0);
    if (length > limit) {
      return refuse(
          ErrorCode::payload_too_large,
          fmt::format("the body has {} bytes; at most {} are accepted here", length, limit));
    }
    body_bytes_ = length;
    body_bytes_have_ = body_bytes_in_input_ = std::min(body_bytes_, behind_head.size());
    request_.body.assign(behind_head.substr(0, body_bytes_have_));
    state_ = body_bytes_have_ < body_bytes_ ? State::body : State::complete;
  }
  if (state_ == State::complete) return Progress::ready;
  if (head_.expects_continue && head_.http_1_1 && behind_head.empty()) {
    return Progress::continue_wanted;
  }
  return state_ == State::chunks ? parse_chunks() : Progress::need_more;
}

Progress Exchange::parse_chunks() {
  const auto text = input_.text().substr(head_bytes_);
  std::size_t parsed = 0;
  boost::beast::error_code ec;
  while (parsed < text.size() && !ec && !parser_->is_done()) {
    parsed += parser_->feed(text.substr(parsed), ec);
  }
  input_.cut(head_bytes_, parsed);
  const auto unparsed = text.size() - parsed;
  if (parser_->is_done()) {
    state_ = State::complete;
    return Progress::ready;
  }
  if (ec == http::error::body_limit) {
    return refuse(ErrorCode::payload_too_large,
                  fmt::format("the body has more than the {} bytes that are accepted here",
                              application_.limits(request_).body_bytes_max));
  }
  if (ec && ec != http::error::need_more) {
    return refuse(ErrorCode::invalid_argument,
                  fmt::format("malformed chunked body: {}", ec.message()));
  }
  if (unparsed > chunk_line_max) {
    return refuse(ErrorCode::invalid_argument, "malformed chunked body: a line is too long");
  }
  return Progress::need_more;
}

Progress Exchange::refuse(ErrorCode code, std::string detail) {
  refusal_ = {.code = code, .detail = std::move(detail)};
  return Progress::refused;
}

std::array<std::string_view, 2> Exchange::answer(Response response, bool close) {
  response_ = std::move(response);
  const bool head_done = parser_ && parser_->is_header_done();
  const bool kept = head_done && parser_->keep_alive();
  closes_ = close || !kept || asks_to_close(response_);
  ResponseFraming framing{.body_bytes = response_.body.size(),
                          .close = closes_,
                          .keep_alive = !closes_ && !head_.http_1_1};
  append_response_head(response_, framing, output_);
  if (!may_have_body(response_.status) || head_.method == "HEAD") return {output_, {}};
  if (response_.body.size() > copied_max) return {output_, response_.body};
  output_ += response_.body;
  return {output_, {}};
}

void Exchange::finish() {
  response_ = Response();
  empty(output_);
  empty(request_.body);
  input_.consume(head_bytes_ + body_bytes_in_input_);
  head_.clear();
  request_.headers = {};
  head_bytes_ = body_bytes_in_input_ = body_bytes_ = body_bytes_have_ = 0;
  closes_ = false;
  state_ = State::between;
}

}  // namespace betrace::kms
