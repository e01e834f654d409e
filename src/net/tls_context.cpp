#include "net/tls_context.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

namespace ssl = boost::asio::ssl;

std::string openssl_reason() {
  const auto code = ERR_peek_error();  // the first cause: later ones say "PEM lib"
  const auto* reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "not usable" : reason;
}

Status unusable(std::string_view key, const std::string& file, std::string_view reason) {
  return fail(ErrorCode::invalid_argument, fmt::format("{}: {}: {}", key, file, reason));
}

Status check_readable(std::string_view key, const std::string& file) {
  if (file.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} must name a PEM file for the TLS listener", key));
  }
  errno = 0;
  if (std::ifstream(file).good()) return {};
  return unusable(key, file, errno == 0 ? "cannot be read" : std::strerror(errno));
}

// Without it OpenSSL would ask for the passphrase on the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

int choose_http_1_1(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned offered_size, void*) {
  static constexpr unsigned char ours[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  const auto found =
      SSL_select_next_proto(&chosen, out_size, ours, sizeof ours - 1, offered, offered_size);
  if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

constexpr std::string_view certificate_key = "quarkus.http.ssl.certificate.files";
constexpr std::string_view key_key = "quarkus.http.ssl.certificate.key-files";
constexpr std::string_view client_ca_key = "quarkus.http.ssl.certificate.trust-store-file";

Status load_certificate(SSL_CTX* context, const TlsOptions& options) {
  TRY(check_readable(certificate_key, options.certificate_file));
  TRY(check_readable(key_key, options.key_file));
  if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1) {
    return unusable(certificate_key, options.certificate_file, openssl_reason());
  }
  if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return unusable(key_key, options.key_file, openssl_reason());
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return unusable(
        key_key, options.key_file,
        fmt::format("is not the key of the certificate in {}", options.certificate_file));
  }
  return {};
}

Status set_client_auth(SSL_CTX* context, const TlsOptions& options) {
  if (options.client_auth == ClientAuth::none) return {};
  const auto& file = options.client_ca_file;
  TRY(check_readable(client_ca_key, file));
  if (SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) != 1) {
    return unusable(client_ca_key, file, openssl_reason());
  }
  auto* names = SSL_load_client_CA_file(file.c_str());
  if (names == nullptr) return unusable(client_ca_key, file, openssl_reason());
  SSL_CTX_set_client_CA_list(context, names);
  const auto required = options.client_auth == ClientAuth::required;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     nullptr);
  return {};
}

}  // namespace

Result<std::shared_ptr<ssl::context>> make_tls_context(const TlsOptions& options) {
  ERR_clear_error();
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  auto* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                  SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_default_passwd_cb(native, &no_passphrase);
  SSL_CTX_set_alpn_select_cb(native, &choose_http_1_1, nullptr);
  // Resumption across the settings of two contexts would skip a client certificate's check.
  static constexpr unsigned char session_context[] = "betrace-kms";
  SSL_CTX_set_session_id_context(native, session_context, sizeof session_context - 1);
  TRY(load_certificate(native, options));
  TRY(set_client_auth(native, options));
  return context;
}

}  // namespace betrace::kms
