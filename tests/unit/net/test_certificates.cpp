#include "unit/net/test_certificates.h"

#include <filesystem>
#include <fstream>
#include <memory>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace betrace::kms::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
using Certificate = std::unique_ptr<X509, void (*)(X509*)>;

Key make_key() { return {EVP_EC_gen("P-256"), &EVP_PKEY_free}; }

void add_extension(X509* certificate, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Certificate make_certificate(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  static long serial = 1;
  Certificate certificate(X509_new(), &X509_free);
  auto* x509 = certificate.get();
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
  X509_gmtime_adj(X509_getm_notAfter(x509), 24 * 3600);
  X509_set_pubkey(x509, key);
  auto* subject = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(x509, issuer == nullptr ? subject : X509_get_subject_name(issuer));
  if (issuer == nullptr) {
    add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
  } else {
    add_extension(x509, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
  }
  X509_sign(x509, issuer_key, EVP_sha256());
  return certificate;
}

void write_pem(const std::string& path, X509* certificate, EVP_PKEY* key) {
  std::unique_ptr<BIO, int (*)(BIO*)> file(BIO_new_file(path.c_str(), "w"), &BIO_free);
  ASSERT_NE(file, nullptr);
  if (certificate != nullptr) PEM_write_bio_X509(file.get(), certificate);
  if (key != nullptr) {
    PEM_write_bio_PrivateKey(file.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  }
}

}  // namespace

TestCertificates::TestCertificates(const std::string& name)
    : folder(testing::TempDir() + "betrace-net-" + std::to_string(getpid()) + "-" + name + "/") {
  std::filesystem::create_directories(folder);
  ca = folder + "ca.pem";
  server = folder + "server.pem";
  server_key = folder + "server.key";
  client = folder + "client.pem";
  client_key = folder + "client.key";
  const auto root_key = make_key();
  const auto root = make_certificate("test CA", root_key.get(), nullptr, root_key.get());
  const auto key_of_server = make_key();
  const auto key_of_client = make_key();
  const auto for_server =
      make_certificate("localhost", key_of_server.get(), root.get(), root_key.get());
  const auto for_client =
      make_certificate("a client", key_of_client.get(), root.get(), root_key.get());
  write_pem(ca, root.get(), nullptr);
  write_pem(server, for_server.get(), nullptr);
  write_pem(server_key, nullptr, key_of_server.get());
  write_pem(client, for_client.get(), nullptr);
  write_pem(client_key, nullptr, key_of_client.get());
}

TestCertificates::~TestCertificates() {
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path) << content;
}

}  // namespace betrace::kms::test
