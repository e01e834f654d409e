#include "net/tls_certificate.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>

#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace betrace::kms {

Result<SystemTime> certificate_end(const std::string& file) {
  errno = 0;
  const std::unique_ptr<BIO, decltype(&BIO_free)> in(BIO_new_file(file.c_str(), "r"), &BIO_free);
  if (!in) {
    return fail(ErrorCode::invalid_argument,
                errno == 0 ? "cannot be read" : std::string(std::strerror(errno)));
  }
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr), &X509_free);
  std::tm end{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    return fail(ErrorCode::invalid_argument, "holds no certificate in PEM form");
  }
  return SystemTime(std::chrono::seconds(timegm(&end)));
}

}  // namespace betrace::kms
