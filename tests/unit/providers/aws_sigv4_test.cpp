// Signatures that others send on, by AWS's published vectors.
#include "providers/aws_sigv4.h"

#include <sstream>

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "support/vectors.h"

namespace betrace::kms {
namespace {

std::string read_data(const std::string& name) { return test::data("sigv4/" + name); }

// The pieces of a vector's request; x-amz-date and the session's token are the signer's to add.
struct Vector {
  explicit Vector(const std::string& name) : text(read_data(name + ".req")) {
    std::istringstream lines(text);
    std::string line, target;
    lines >> method >> target;
    std::getline(lines, line);
    path = target.substr(0, target.find('?'));
    query = target.find('?') == target.npos ? "" : target.substr(target.find('?') + 1);
    while (std::getline(lines, line) && line.size() > 1) {
      line.pop_back();
      auto key = line.substr(0, line.find(':'));
      const auto value = line.substr(key.size() + 1);
      for (auto& c : key) c = static_cast<char>(std::tolower(c));
      if (key == "x-amz-security-token") {
        session_token = value;
      } else if (key != "x-amz-date") {
        headers.emplace_back(key, value);
      }
    }
    body = text.substr(text.find("\r\n\r\n") + 4);
  }
  std::string text, method, path, query, body, session_token;
  Headers headers;
};

TEST(AwsSigV4, SignsThePublishedRequestsAsAwsDoes) {
  const auto at = parse_utc_time("2015-08-30T12:36:00Z").value();
  for (const std::string name :
       {"get-header-value-trim", "get-vanilla", "get-vanilla-query-unreserved",
        "post-header-key-case", "post-header-key-sort", "post-header-value-case",
        "post-sts-header-after", "post-sts-header-before", "post-vanilla",
        "post-vanilla-empty-query-value", "post-vanilla-query", "post-x-www-form-urlencoded",
        "post-x-www-form-urlencoded-parameters"}) {
    const Vector vector(name);
    const AwsCredentials credentials{
        .access_key_id = "AKIDEXAMPLE",
        .secret_access_key = WipedString("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        .session_token = WipedString(vector.session_token)};
    const auto headers = sign_for_aws({.method = vector.method,
                                       .path = vector.path,
                                       .query = vector.query,
                                       .headers = vector.headers,
                                       .body = vector.body},
                                      credentials, "us-east-1", "service", at);
    EXPECT_EQ(headers.back().first, "authorization");
    EXPECT_EQ(headers.back().second, read_data(name + ".authz")) << name;
  }
}

}  // namespace
}  // namespace betrace::kms
