#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "net/curl_client.h"
#include "unit/net/net_test_support.h"
#include "unit/net/test_certificates.h"

namespace betrace::kms {
namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::get;
using test::post;
using test::Running;
using test::TestCertificates;

const TestCertificates& certificates() {
  static const TestCertificates made("tls");
  return made;
}

TlsOptions tls(ClientAuth client_auth = ClientAuth::none) {
  return {.port = 0,
          .certificate_file = certificates().server,
          .key_file = certificates().server_key,
          .client_auth = client_auth,
          .client_ca_file = certificates().ca};
}

// A TLS client in blocking calls.
class TlsClient {
 public:
  struct Options {
    bool with_certificate = false;
    int version_max = 0;
    std::string alpn;  // in wire form
  };
  TlsClient(std::uint16_t port, const Options& options)
      : context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free), bio_(nullptr, &BIO_free_all) {
    SSL_CTX_load_verify_locations(context_.get(), certificates().ca.c_str(), nullptr);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_max_proto_version(context_.get(), options.version_max);
    if (options.with_certificate) {
      SSL_CTX_use_certificate_chain_file(context_.get(), certificates().client.c_str());
      SSL_CTX_use_PrivateKey_file(context_.get(), certificates().client_key.c_str(),
                                  SSL_FILETYPE_PEM);
    }
    bio_.reset(BIO_new_ssl_connect(context_.get()));
    BIO_set_conn_hostname(bio_.get(), fmt::format("127.0.0.1:{}", port).c_str());
    const auto& alpn = options.alpn;
    if (!alpn.empty()) {
      SSL_set_alpn_protos(ssl(), reinterpret_cast<const unsigned char*>(alpn.data()),
                          static_cast<unsigned>(alpn.size()));
    }
    connected_ = BIO_do_connect(bio_.get()) == 1 && BIO_do_handshake(bio_.get()) == 1;
  }

  bool connected() const { return connected_; }
  SSL* ssl() {
    SSL* found = nullptr;
    BIO_get_ssl(bio_.get(), &found);
    return found;
  }
  void send(std::string_view bytes) {
    BIO_write(bio_.get(), bytes.data(), static_cast<int>(bytes.size()));
  }
  // Everything until the server says goodbye properly; "" when it does not.
  std::string read_to_end() {
    std::string all;
    char piece[4096];
    int count = 0;
    while ((count = BIO_read(bio_.get(), piece, sizeof piece)) > 0) {
      all.append(piece, static_cast<std::size_t>(count));
    }
    return (SSL_get_shutdown(ssl()) & SSL_RECEIVED_SHUTDOWN) != 0 ? all : "";
  }

 private:
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  std::unique_ptr<BIO, void (*)(BIO*)> bio_;
  bool connected_ = false;
};

HttpCall call_to(const HttpServer& server, std::string_view path, std::string_view body) {
  HttpCall call;
  call.method = "POST";
  call.url = fmt::format("https://localhost:{}{}", server.tls_port(), path);
  call.body = body;
  call.ca_file = certificates().ca;
  return call;
}

TEST(HttpTls, ServesBothListeners) {
  Running running({.tls = tls()});
  const auto client = make_http_client();
  const auto answer = client->send(call_to(*running.server, "/describe", "secret"));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_NE(answer->body.find("loopback=true tls=true"), std::string::npos);
  EXPECT_GT(answer->phases.tls.count(), 0);

  test::RawClient plain(running.port());
  plain.send(get("/describe"));
  EXPECT_NE(plain.receive().body.find("tls=false"), std::string::npos);
}

TEST(HttpTls, CarriesLargeAndManyBodies) {
  Running running({.tls = tls()});
  const auto client = make_http_client();
  std::string body(1 << 20, 'b');
  body[54321] = 'c';
  const auto large = client->send(call_to(*running.server, "/echo", body));
  ASSERT_TRUE(large) << large.error().message;
  EXPECT_TRUE(std::string_view(large->body) == body);
  for (int i = 0; i < 50; ++i) {
    const auto answer = client->send(call_to(*running.server, "/echo", std::to_string(i)));
    ASSERT_TRUE(answer) << answer.error().message;
    ASSERT_EQ(std::string_view(answer->body), std::to_string(i));
  }
  EXPECT_EQ(running.server->connections(), 1U);
}

TEST(HttpTls, LateRepliesAndPipelinesWorkAsWithoutIt) {
  Running running({.tls = tls()});
  TlsClient client(running.server->tls_port(), {});
  ASSERT_TRUE(client.connected());
  client.send(post("/later", "one") + post("/echo", "two", "Connection: close\r\n"));
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
  running.application.release();
  const auto all = client.read_to_end();
  EXPECT_NE(all.find("\r\n\r\none"), std::string::npos);
  EXPECT_TRUE(all.ends_with("\r\n\r\ntwo"));
}

TEST(HttpTls, ARefusalIsReadThoughTheClientGoesOn) {
  Running running({.tls = tls()});
  TlsClient client(running.server->tls_port(), {});
  client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
  client.send(std::string(100, 'x'));
  EXPECT_TRUE(client.read_to_end().starts_with("HTTP/1.1 413 "));
}

TEST(HttpTls, SlowRequestsAre408AndSlowHandshakesAreCut) {
  Running running({.tls = tls(), .head_timeout = 200ms});
  TlsClient client(running.server->tls_port(), {});
  client.send("GET / HT");
  EXPECT_TRUE(client.read_to_end().starts_with("HTTP/1.1 408 "));

  test::RawClient no_handshake(running.server->tls_port());
  EXPECT_TRUE(no_handshake.ended());
}

TEST(HttpTls, TakesTls12AndLaterOnly) {
  Running running({.tls = tls()});
  EXPECT_FALSE(TlsClient(running.server->tls_port(), {.version_max = TLS1_1_VERSION}).connected());
  TlsClient with_12(running.server->tls_port(), {.version_max = TLS1_2_VERSION});
  EXPECT_TRUE(with_12.connected());
  TlsClient newest(running.server->tls_port(), {});
  EXPECT_EQ(SSL_version(newest.ssl()), TLS1_3_VERSION);
}

TEST(HttpTls, AgreesOnHttp11) {
  Running running({.tls = tls()});
  TlsClient client(running.server->tls_port(), {.alpn = "\x02h2\x08http/1.1"});
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(client.ssl(), &chosen, &size);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(chosen), size), "http/1.1");
}

TEST(HttpTls, AsksForClientCertificates) {
  Running required({.tls = tls(ClientAuth::required)});
  TlsClient with(required.server->tls_port(), {.with_certificate = true});
  ASSERT_TRUE(with.connected());
  with.send(post("/echo", "known", "Connection: close\r\n"));
  EXPECT_TRUE(with.read_to_end().ends_with("known"));
  TlsClient without(required.server->tls_port(), {});
  without.send(post("/echo", "unknown"));  // in TLS 1.3 the refusal comes after the handshake
  EXPECT_EQ(without.read_to_end(), "");

  Running requested({.tls = tls(ClientAuth::request)});
  TlsClient anonymous(requested.server->tls_port(), {});
  anonymous.send(post("/echo", "welcome", "Connection: close\r\n"));
  EXPECT_TRUE(anonymous.read_to_end().ends_with("welcome"));
}

TEST(HttpTls, StopsGracefully) {
  Running running({.tls = tls()});
  TlsClient idle(running.server->tls_port(), {});
  TlsClient busy(running.server->tls_port(), {});
  busy.send(post("/later", "in flight"));
  ASSERT_TRUE(eventually([&] { return running.application.waiting() == 1; }));
  ASSERT_TRUE(eventually([&] { return running.server->connections() == 2; }));
  std::jthread stopper([&] { running.server->stop(20s); });
  EXPECT_TRUE(eventually([&] { return running.server->connections() == 1; }));
  running.application.release();
  EXPECT_TRUE(busy.read_to_end().ends_with("in flight"));
}

TEST(HttpTls, ReloadsItsCertificate) {
  const TestCertificates first("reload-1");
  const TestCertificates second("reload-2");
  auto options = tls();
  options.certificate_file = first.folder + "used.pem";
  options.key_file = first.folder + "used.key";
  const auto use = [&](const TestCertificates& certificates) {
    std::filesystem::copy_file(certificates.server, options.certificate_file,
                               std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(certificates.server_key, options.key_file,
                               std::filesystem::copy_options::overwrite_existing);
  };
  use(first);
  Running running({.tls = options});
  const auto trusted = [&](const TestCertificates& certificates) {
    auto call = call_to(*running.server, "/echo", "x");
    call.ca_file = certificates.ca;
    return make_http_client()->send(call).has_value();
  };
  EXPECT_TRUE(trusted(first));
  use(second);
  ASSERT_TRUE(running.server->reload_tls());
  EXPECT_TRUE(trusted(second));
  EXPECT_FALSE(trusted(first));

  test::write_file(options.key_file, "not a key");
  const auto failed = running.server->reload_tls();
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find(options.key_file), std::string::npos);
  EXPECT_TRUE(trusted(second));
}

std::string start_error(TlsOptions options) {
  test::TestApplication application;
  const auto server = HttpServer::start({.port = 0, .tls = std::move(options)}, application);
  return server ? "" : server.error().message;
}

TEST(HttpTls, NamesTheFileItCannotUse) {
  auto missing = tls();
  missing.certificate_file = certificates().folder + "missing.pem";
  EXPECT_EQ(start_error(missing), fmt::format("quarkus.http.ssl.certificate.files: {}: No such "
                                              "file or directory",
                                              missing.certificate_file));
  auto unset = tls();
  unset.key_file = "";
  EXPECT_EQ(start_error(unset),
            "quarkus.http.ssl.certificate.key-files must name a PEM file for the TLS listener");

  auto foreign = tls();
  foreign.key_file = certificates().client_key;
  EXPECT_NE(start_error(foreign).find(foreign.key_file + ": "), std::string::npos);

  auto garbage = tls();
  garbage.certificate_file = certificates().folder + "garbage.pem";
  test::write_file(garbage.certificate_file, "garbage");
  EXPECT_EQ(start_error(garbage), fmt::format("quarkus.http.ssl.certificate.files: {}: no start "
                                              "line",
                                              garbage.certificate_file));

  auto no_ca = tls(ClientAuth::required);
  no_ca.client_ca_file = "";
  EXPECT_NE(start_error(no_ca).find("trust-store-file must name"), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
