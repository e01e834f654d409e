// Checks what libcurl signs with a Signature Version 4 of our own over the request as it arrived,
// which the published vectors check first.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "net/curl_client.h"
#include "support/vectors.h"
#include "unit/net/net_test_support.h"

namespace betrace::kms {
namespace {

using test::ScriptedServer;

constexpr auto answer_ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
constexpr auto example_secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

std::string hex(std::string_view bytes) {
  std::string out;
  for (const auto c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string sha256_hex(std::string_view text) {
  unsigned char digest[32];
  EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_sha256(), nullptr);
  return hex({reinterpret_cast<const char*>(digest), sizeof digest});
}

std::string hmac(std::string_view key, std::string_view text) {
  unsigned char digest[32];
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, nullptr);
  return {reinterpret_cast<const char*>(digest), sizeof digest};
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + separator.size());
  }
}

struct ParsedRequest {
  std::string method, path, query, body;
  std::map<std::string, std::string> headers;  // names in lower case
};

ParsedRequest parse(const std::string& raw) {
  ParsedRequest request;
  const auto end = raw.find("\r\n\r\n");
  request.body = raw.substr(end + 4);
  auto lines = split(std::string_view(raw).substr(0, end), "\r\n");
  const auto first = split(lines.front(), " ");
  const auto target = split(first[1], "?");
  request.method = first[0];
  request.path = target[0];
  request.query = target.size() > 1 ? target[1] : "";
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto name = lines[i].substr(0, lines[i].find(':'));
    auto value = lines[i].substr(name.size() + 1);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    value.erase(0, value.find_first_not_of(' '));
    const auto both_blank = [](char a, char b) { return a == ' ' && b == ' '; };
    value.erase(std::ranges::unique(value, both_blank).begin(), value.end());
    request.headers[name] = value;
  }
  return request;
}

// The Authorization header that `request` ought to have, given the scope and the names that
// `authorization` says it signed.
std::string expected(const ParsedRequest& request, const std::string& authorization,
                     const std::string& secret) {
  const auto credential = authorization.substr(authorization.find("Credential=") + 11);
  const auto scope = split(credential.substr(0, credential.find(',')), "/");
  const auto signed_at = authorization.find("SignedHeaders=") + 14;
  const auto names =
      authorization.substr(signed_at, authorization.find(',', signed_at) - signed_at);
  std::string canonical = request.method + "\n" + request.path + "\n" + request.query + "\n";
  for (const auto& name : split(names, ";")) {
    canonical += name + ":" + request.headers.at(name) + "\n";
  }
  canonical += "\n" + names + "\n" + sha256_hex(request.body);
  const auto where = fmt::format("{}/{}/{}/{}", scope[1], scope[2], scope[3], scope[4]);
  const auto to_sign = fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", request.headers.at("x-amz-date"),
                                   where, sha256_hex(canonical));
  auto key = hmac("AWS4" + secret, scope[1]);
  for (const auto& part : {scope[2], scope[3], std::string("aws4_request")}) key = hmac(key, part);
  return fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", scope[0],
                     where, names, hex(hmac(key, to_sign)));
}

std::string read_data(const std::string& name) { return test::data("sigv4/" + name); }

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

HttpCall signed_call(std::uint16_t port) {
  HttpCall call;
  call.method = "POST";
  call.url = fmt::format("http://127.0.0.1:{}/", port);
  call.headers = {{"Content-Type", "application/x-amz-json-1.1"},
                  {"X-Amz-Target", "TrentService.Decrypt"}};
  call.body = R"({"KeyId":"alias/betrace"})";
  call.aws = AwsSigning{.region = "eu-central-1",
                        .service = "kms",
                        .access_key_id = "AKIDEXAMPLE",
                        .secret_access_key = example_secret,
                        .session_token = ""};
  return call;
}

TEST(CurlSigning, TheCheckerAgreesWithThePublishedVectors) {
  for (const auto* name : {"get-header-value-trim", "get-vanilla", "get-vanilla-query-unreserved",
                           "post-header-key-case", "post-header-key-sort", "post-header-value-case",
                           "post-sts-header-after", "post-sts-header-before", "post-vanilla",
                           "post-vanilla-empty-query-value", "post-vanilla-query",
                           "post-x-www-form-urlencoded", "post-x-www-form-urlencoded-parameters"}) {
    const auto authorization = read_data(name + std::string(".authz"));
    EXPECT_EQ(expected(parse(read_data(name + std::string(".req"))), authorization, example_secret),
              authorization)
        << name;
  }
}

TEST(CurlSigning, SignsWhatItSends) {
  ScriptedServer server({.answer = answer_ok});
  const auto answer = make_http_client()->send(signed_call(server.port()));
  ASSERT_TRUE(answer) << answer.error().message;
  const auto request = parse(server.last_request());
  const auto authorization = request.headers.at("authorization");
  EXPECT_EQ(without_spaces(authorization),
            without_spaces(expected(request, authorization, example_secret)));
  EXPECT_NE(authorization.find("/eu-central-1/kms/aws4_request"), std::string::npos);
  EXPECT_NE(authorization.find("host;x-amz-date;x-amz-target"), std::string::npos);
  EXPECT_EQ(request.body, R"({"KeyId":"alias/betrace"})");
}

TEST(CurlSigning, SignsTheSessionTokenToo) {
  ScriptedServer server({.answer = answer_ok});
  auto call = signed_call(server.port());
  call.aws->session_token = "FwoGZXIvYXdzEXAMPLE//token==";
  const auto answer = make_http_client()->send(call);
  ASSERT_TRUE(answer) << answer.error().message;
  const auto request = parse(server.last_request());
  const auto authorization = request.headers.at("authorization");
  EXPECT_EQ(request.headers.at("x-amz-security-token"), "FwoGZXIvYXdzEXAMPLE//token==");
  EXPECT_NE(authorization.find("x-amz-security-token"), std::string::npos);
  EXPECT_EQ(without_spaces(authorization),
            without_spaces(expected(request, authorization, example_secret)));
}

TEST(CurlSigning, RefusesHeadersThatBreakTheSignature) {
  const auto client = make_http_client();
  for (const auto* name : {"X-Amz-Date", "user-agent", "Expect", "Accept", "Host"}) {
    auto call = signed_call(1);
    call.headers.emplace_back(name, "x");
    const auto answer = client->send(call);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().message,
              fmt::format("header {} would break the AWS signature: leave it out", [&] {
                std::string lower = name;
                std::ranges::transform(lower, lower.begin(),
                                       [](unsigned char c) { return std::tolower(c); });
                return lower;
              }()));
  }
  auto call = signed_call(1);
  call.headers.emplace_back("X-Amz", "x");
  const auto answer = client->send(call);
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message.find("one name begins with the other"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
