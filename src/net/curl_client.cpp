#include "net/curl_client.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "base/try.h"
#include "net/curl_pool.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

constexpr auto hop_free_names = {"accept", "authorization", "expect",
                                 "host",   "user-agent",    "x-amz-date"};

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

struct Target {
  std::string scheme, host, host_and_port;
};

Result<Target> parse_target(const std::string& url) {
  const std::unique_ptr<CURLU, void (*)(CURLU*)> parsed(curl_url(), &curl_url_cleanup);
  auto code = curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0);
  const auto part = [&](CURLUPart which, unsigned flags) {
    char* text = nullptr;
    if (code == CURLUE_OK) code = curl_url_get(parsed.get(), which, &text, flags);
    std::string out = text == nullptr ? "" : text;
    curl_free(text);
    return out;
  };
  Target target;
  target.scheme = part(CURLUPART_SCHEME, 0);
  target.host = part(CURLUPART_HOST, 0);
  target.host_and_port = target.host + ":" + part(CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (code != CURLUE_OK) {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("not a usable URL: '{}' ({})", url, curl_url_strerror(code)));
  }
  if (target.scheme != "http" && target.scheme != "https") {
    return fail(ErrorCode::kms_unavailable,
                fmt::format("not a usable URL: '{}' (http and https are accepted)", url));
  }
  return target;
}

// A thread asks the same address again and again, and libcurl takes it apart once more by itself.
Result<const Target*> target_of(const std::string& url) {
  thread_local std::pair<std::string, Target> last;
  if (last.first != url || url.empty()) {
    last.second = TRY(parse_target(url));
    last.first = url;
  }
  return &last.second;
}

// The machine itself and the metadata services of clouds, which no proxy can reach for us.
bool is_beside_us(std::string_view host) {
  return host == "localhost" || host.ends_with(".localhost") || host.starts_with("127.") ||
         host.starts_with("169.254.") || host == "[::1]" || host == "[fd00:ec2::254]" ||
         host == "[fd00:ec2::23]" || host == "metadata.google.internal";
}

bool has_line_break(std::string_view text) {
  return text.contains('\n') || text.contains('\r') || text.contains('\0');
}

Status check_headers(const HttpCall& call) {
  for (const auto& [name, value] : call.headers) {
    if (has_line_break(name) || has_line_break(value)) {
      return fail(ErrorCode::kms_unavailable,
                  fmt::format("the value of header {} holds a line break or NUL",
                              has_line_break(name) ? "(name unusable)" : name));
    }
  }
  if (!call.aws) return {};
  std::vector<std::string> names;
  for (const auto& header : call.headers) names.push_back(lower_case(header.first));
  for (const auto& name : names) {
    if (std::ranges::find(hop_free_names, name) != hop_free_names.end()) {
      return fail(ErrorCode::internal,
                  fmt::format("header {} would break the AWS signature: leave it out", name));
    }
    for (const auto& other : names) {
      if (&name != &other && other.starts_with(name)) {
        return fail(ErrorCode::internal,
                    fmt::format("headers {} and {} together would break the AWS signature: one "
                                "name begins with the other",
                                name, other));
      }
    }
  }
  return {};
}

class HeaderList {
 public:
  ~HeaderList() { curl_slist_free_all(list_); }
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;

  void add(std::string_view name, std::string_view value) {
    WipedString line(name);
    // "Name;" is libcurl's way to send a header without a value; "Name:" would remove it.
    if (value.empty()) {
      line += ';';
    } else {
      line += ": ";
      line += value;
    }
    if (auto* longer = curl_slist_append(list_, line.c_str())) list_ = longer;
  }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

struct Receiver {
  HttpAnswer answer;
  std::size_t body_bytes_max = 0;
  bool too_large = false;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::strchr(" \t\r\n", text.front())) text.remove_prefix(1);
  while (!text.empty() && std::strchr(" \t\r\n", text.back())) text.remove_suffix(1);
  return text;
}

// Ahead of the body, so that a secret answer is not copied about while it grows.
void reserve_body(Receiver& receiver, std::string_view content_length) {
  std::size_t length = 0;
  const auto parsed = std::from_chars(std::to_address(content_length.begin()),
                                      std::to_address(content_length.end()), length);
  if (parsed.ec != std::errc()) return;
  if (length <= receiver.body_bytes_max) receiver.answer.body.reserve(length);
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& receiver = *static_cast<Receiver*>(user);
  const std::string_view line(data, size);
  if (line.starts_with("HTTP/")) {  // anew after each interim answer
    receiver.answer.headers.clear();
    return size;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  auto name = lower_case(line.substr(0, colon));
  const auto value = trimmed(line.substr(colon + 1));
  if (name == "content-length") reserve_body(receiver, value);
  receiver.answer.headers.emplace_back(std::move(name), value);
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) noexcept {
  auto& receiver = *static_cast<Receiver*>(user);
  if (size > receiver.body_bytes_max - receiver.answer.body.size()) {
    receiver.too_large = true;
    return 0;
  }
  receiver.answer.body.append(data, size);
  return size;
}

std::chrono::microseconds time_of(CURL* handle, CURLINFO which) {
  curl_off_t value = 0;
  curl_easy_getinfo(handle, which, &value);
  return std::chrono::microseconds(value);
}

HttpPhases phases_of(CURL* handle) {
  return {.resolve = time_of(handle, CURLINFO_NAMELOOKUP_TIME_T),
          .connect = time_of(handle, CURLINFO_CONNECT_TIME_T),
          .tls = time_of(handle, CURLINFO_APPCONNECT_TIME_T),
          .first_byte = time_of(handle, CURLINFO_STARTTRANSFER_TIME_T),
          .total = time_of(handle, CURLINFO_TOTAL_TIME_T)};
}

// What the call was about when it failed.
std::string_view failed_phase(CURL* handle, CURLcode code, bool tls) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "resolving the name of";
    case CURLE_COULDNT_CONNECT:
      return "connecting to";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
      return "TLS handshake with";
    default:
      break;
  }
  const auto phases = phases_of(handle);
  const auto none = std::chrono::microseconds(0);
  if (phases.first_byte > none) return "reading the answer of";
  if (time_of(handle, CURLINFO_PRETRANSFER_TIME_T) > none) return "waiting for the answer of";
  if (phases.connect > none) return tls ? "TLS handshake with" : "sending the request to";
  if (phases.resolve > none) return "connecting to";
  return "resolving the name of";
}

class CurlClient final : public HttpClient {
 public:
  Result<HttpAnswer> send(const HttpCall& call) override;

 private:
  Result<HttpAnswer> perform(CURL* handle, const HttpCall& call, const Target& target);
  CurlPool pool_;
  const std::string user_agent_ = fmt::format("betrace-kms/{}", version());
};

void set_transport(CURL* handle, const HttpCall& call, const Target& target) {
  const auto timeout = std::max<long>(1, static_cast<long>(call.timeout.count()));
  curl_easy_setopt(handle, CURLOPT_URL, call.url.c_str());
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, timeout);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, timeout);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!call.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, call.ca_file.c_str());
  if (!call.client_certificate.empty()) {
    curl_easy_setopt(handle, CURLOPT_SSLCERT, call.client_certificate.c_str());
    curl_easy_setopt(handle, CURLOPT_SSLKEY, call.client_key.c_str());
  }
  if (!call.unix_socket.empty()) {
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, call.unix_socket.c_str());
  }
  if (!call.unix_socket.empty() || is_beside_us(target.host)) {
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
  }
}

void set_method_and_body(CURL* handle, const HttpCall& call) {
  if (call.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    return;
  }
  const bool post = call.method == "POST";
  if (post || !call.body.empty()) {
    // Not copied: the caller's body outlives the call, and SigV4 hashes exactly these bytes.
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, call.body.data());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(call.body.size()));
  }
  if (!post && call.method != "GET") {
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, call.method.c_str());
  } else if (!post && !call.body.empty()) {
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, "GET");
  }
}

void set_headers(CURL* handle, const HttpCall& call, HeaderList& list) {
  bool has_content_type = false;
  for (const auto& [name, value] : call.headers) {
    list.add(name, value);
    has_content_type = has_content_type || lower_case(name) == "content-type";
  }
  if (call.aws && !call.aws->session_token.empty()) {
    list.add("X-Amz-Security-Token", call.aws->session_token);
  }
  if (!call.aws && call.trace.valid()) {
    list.add("traceparent", traceparent(call.trace));
    if (!call.trace.state.empty()) list.add("tracestate", call.trace.state);
  }
  // libcurl would claim a form.
  if (!has_content_type && !call.body.empty()) {
    list.add("Content-Type", "application/octet-stream");
  }
  if (list.get() != nullptr) curl_easy_setopt(handle, CURLOPT_HTTPHEADER, list.get());
}

void set_signing(CURL* handle, const AwsSigning& aws) {
  const auto scheme = fmt::format("aws:amz:{}:{}", aws.region, aws.service);
  curl_easy_setopt(handle, CURLOPT_AWS_SIGV4, scheme.c_str());
  curl_easy_setopt(handle, CURLOPT_USERNAME, aws.access_key_id.c_str());
  curl_easy_setopt(handle, CURLOPT_PASSWORD, aws.secret_access_key.c_str());
}

Result<HttpAnswer> CurlClient::send(const HttpCall& call) {
  const auto& target = *TRY(target_of(call.url));
  TRY(check_headers(call));
  auto* handle = pool_.take();
  if (handle == nullptr) return fail(ErrorCode::kms_unavailable, "out of memory for an HTTP call");
  auto answer = perform(handle, call, target);
  pool_.give_back(handle);
  return answer;
}

Result<HttpAnswer> CurlClient::perform(CURL* handle, const HttpCall& call, const Target& target) {
  HeaderList headers;
  Receiver receiver{.answer = {}, .body_bytes_max = call.answer_bytes_max, .too_large = false};
  char words[CURL_ERROR_SIZE] = "";
  set_transport(handle, call, target);
  set_method_and_body(handle, call);
  set_headers(handle, call, headers);
  if (call.aws) set_signing(handle, *call.aws);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, user_agent_.c_str());
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, words);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &receiver);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &receiver);

  const auto code = curl_easy_perform(handle);
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, nullptr);
  const auto where = call.unix_socket.empty() ? target.host_and_port : call.unix_socket;
  if (receiver.too_large) {
    return fail(ErrorCode::kms_unavailable, fmt::format("the answer of {} is larger than {} bytes",
                                                        where, call.answer_bytes_max));
  }
  if (code != CURLE_OK) {
    const std::string_view reason = words[0] != '\0' ? words : curl_easy_strerror(code);
    const auto timed_out = code == CURLE_OPERATION_TIMEDOUT;
    return fail(timed_out ? ErrorCode::kms_timeout : ErrorCode::kms_unavailable,
                fmt::format("{} {} failed: {}",
                            failed_phase(handle, code, target.scheme == "https"), where, reason));
  }
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  receiver.answer.status = static_cast<int>(status);
  receiver.answer.phases = phases_of(handle);
  return std::move(receiver.answer);
}

}  // namespace

std::unique_ptr<HttpClient> make_http_client() { return std::make_unique<CurlClient>(); }

}  // namespace betrace::kms
