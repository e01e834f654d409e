#include "net/request_parser.h"

#include <functional>
#include <limits>

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>

namespace betrace::kms {
namespace http = boost::beast::http;

void RequestHead::clear() {
  method = target = {};
  headers.clear();
  http_1_1 = true;
  expects_continue = false;
}

void RequestHead::rebase(const char* from, const char* to) {
  const auto move = [&](std::string_view& view) {
    if (!view.empty()) view = {to + (view.data() - from), view.size()};
  };
  move(method);
  move(target);
  for (auto& [name, value] : headers) {
    move(name);
    move(value);
  }
}

RequestParser::RequestParser(RequestHead& head, WipedString& body) : head_(head), body_(body) {
  // Both limits are the caller's: Beast's begin anew with each piece of the head.
  header_limit(std::numeric_limits<std::uint32_t>::max());
  body_limit(boost::none);
}

std::size_t RequestParser::feed(std::string_view input, error_code& ec) {
  input_ = input;
  return put(boost::asio::const_buffer(input.data(), input.size()), ec);
}

const char* RequestParser::objection() const {
  if (content_lengths_ > 1) return "more than one Content-Length";
  if (transfer_encoding_ && (!chunked() || !head_.http_1_1)) {
    return "a Transfer-Encoding other than chunked";
  }
  if (hosts_ > 1 || (hosts_ == 0 && head_.http_1_1)) return "there must be one Host header";
  const auto target = head_.target;
  if (!target.starts_with('/') && target != "*" && !target.starts_with("http://") &&
      !target.starts_with("https://")) {
    return "the request target must be a path";
  }
  return nullptr;
}

void RequestParser::on_request_impl(http::verb, text method, text target, int version,
                                    error_code&) {
  head_.method = method;
  head_.target = target;
  head_.http_1_1 = version == 11;
}

void RequestParser::on_field_impl(field id, text name, text value, error_code& ec) {
  if (!in_head_) return;  // a trailer adds nothing to a request
  if (head_.headers.size() == headers_max) {
    ec = http::error::header_limit;
    return;
  }
  // Beast unfolds a value into memory of its own, which ends with this call.
  const bool in_place = !std::less<>()(value.data(), input_.data()) &&
                        std::less<>()(value.data(), input_.data() + input_.size());
  if (!value.empty() && !in_place) {
    ec = http::error::bad_obs_fold;
    return;
  }
  switch (id) {
    case field::content_length:
      content_lengths_ += value.find(',') == text::npos ? 1 : 2;
      break;
    case field::transfer_encoding:
      transfer_encoding_ = true;
      break;
    case field::host:
      ++hosts_;
      break;
    case field::expect:
      head_.expects_continue = boost::beast::iequals(value, "100-continue");
      break;
    default:
      break;
  }
  head_.headers.emplace_back(name, value);
}

std::size_t RequestParser::on_chunk_body_impl(std::uint64_t, text chunk, error_code&) {
  body_.append(chunk.data(), chunk.size());
  return chunk.size();
}

}  // namespace betrace::kms
