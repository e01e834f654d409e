// The head of a request and the chunks of its body, parsed by Beast's incremental parser straight
// into views: no container of fields, no allocation per request. Stricter than Beast where RFC 9112
// lets two readers of one stream disagree: one Content-Length at most, no folded lines, Host
// exactly once, no Transfer-Encoding but chunked. Not thread-safe.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/beast/http/basic_parser.hpp>

#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

// Views into the bytes that were parsed; whoever moves those calls rebase().
struct RequestHead {
  std::string_view method, target;
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  bool http_1_1 = true;
  bool expects_continue = false;

  void clear();
  void rebase(const char* from, const char* to);
};

class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  static constexpr std::size_t headers_max = 128;

  // Both must outlive the parser. `body` receives what chunks carry.
  RequestParser(RequestHead& head, WipedString& body);

  // As put(); `input` begins where the last call stopped.
  std::size_t feed(std::string_view input, boost::beast::error_code& ec);

  // After the head: what is wrong with it though its grammar is right; null when nothing is.
  const char* objection() const;

 private:
  using error_code = boost::beast::error_code;
  using text = boost::beast::string_view;
  using field = boost::beast::http::field;

  void on_request_impl(boost::beast::http::verb, text method, text target, int version,
                       error_code& ec) override;
  void on_response_impl(int, text, int, error_code&) override {}
  void on_field_impl(field id, text name, text value, error_code& ec) override;
  void on_header_impl(error_code&) override { in_head_ = false; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(text, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, text chunk, error_code&) override;
  void on_finish_impl(error_code&) override {}

  RequestHead& head_;
  WipedString& body_;
  std::string_view input_;
  bool in_head_ = true;
  bool transfer_encoding_ = false;
  int content_lengths_ = 0;
  int hosts_ = 0;
};

}  // namespace betrace::kms
