// Certificates for a test, made by OpenSSL on the spot: a CA, a server named localhost and
// 127.0.0.1, a client. PEM files in a folder of the test's own.
#pragma once

#include <string>

namespace betrace::kms::test {

struct TestCertificates {
  // `name` keeps the folders of several sets apart.
  explicit TestCertificates(const std::string& name);
  ~TestCertificates();
  TestCertificates(const TestCertificates&) = delete;
  TestCertificates& operator=(const TestCertificates&) = delete;

  std::string folder;
  std::string ca, server, server_key, client, client_key;
};

void write_file(const std::string& path, const std::string& content);

}  // namespace betrace::kms::test
