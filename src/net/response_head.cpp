#include "net/response_head.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

namespace betrace::kms {
namespace {

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "";
  }
}

void append_number(std::size_t number, WipedString& out) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, static_cast<std::size_t>(end - digits));
}

// "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n", made once a second and thread.
std::string_view date_line() {
  thread_local std::time_t made_at = -1;
  thread_local char line[48];
  thread_local std::size_t size = 0;
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != made_at) {
    static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm utc{};
    gmtime_r(&now.tv_sec, &utc);
    // Not by locale, as %a and %b would be.
    const auto format = std::string("Date: ") + days[utc.tm_wday] + ", %d " + months[utc.tm_mon] +
                        " %Y %H:%M:%S GMT\r\n";
    size = std::strftime(line, sizeof line, format.c_str(), &utc);
    made_at = now.tv_sec;
  }
  return {line, size};
}

bool is_token(std::string_view text) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
  };
  return !text.empty() && std::ranges::all_of(text, good);
}

bool same_name(std::string_view a, std::string_view lower) {
  return std::ranges::equal(
      a, lower, {}, [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
}

// Framing is ours alone.
bool is_framing(std::string_view name) {
  return same_name(name, "content-length") || same_name(name, "transfer-encoding") ||
         same_name(name, "connection") || same_name(name, "date");
}

void append_header(std::string_view name, std::string_view value, WipedString& out) {
  const auto is_control = [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  };
  out += name;
  out += ": ";
  const auto start = out.size();
  out += value;
  std::replace_if(out.begin() + static_cast<std::ptrdiff_t>(start), out.end(), is_control, ' ');
  out += "\r\n";
}

}  // namespace

bool asks_to_close(const Response& response) {
  return std::ranges::any_of(response.headers, [](const auto& header) {
    return same_name(header.first, "connection") && same_name(header.second, "close");
  });
}

void append_response_head(const Response& response, const ResponseFraming& framing,
                          WipedString& out) {
  if (response.status == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    out += "HTTP/1.1 ";
    append_number(static_cast<std::size_t>(std::clamp(response.status, 100, 999)), out);
    out += ' ';
    out += reason_of(response.status);
    out += "\r\n";
  }
  out += date_line();
  if (may_have_body(response.status)) {
    if (!response.content_type.empty()) {
      out += "Content-Type: ";
      out += response.content_type;
      out += "\r\n";
    }
    out += "Content-Length: ";
    append_number(framing.body_bytes, out);
    out += "\r\n";
  }
  for (const auto& [name, value] : response.headers) {
    if (is_token(name) && !is_framing(name)) append_header(name, value, out);
  }
  if (framing.close) {
    out += "Connection: close\r\n";
  } else if (framing.keep_alive) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

}  // namespace betrace::kms
