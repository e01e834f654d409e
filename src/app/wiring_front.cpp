#include <filesystem>
#include <ranges>
#include <thread>

#include <fmt/format.h>

#include "api/access.h"
#include "api/router.h"
#include "app/wiring.h"
#include "app/wiring_parts.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/envelope.h"
#include "base/try.h"
#include "core/succession.h"
#include "evidence/archive.h"
#include "evidence/evidence_service.h"
#include "evidence/otlp_ingest.h"
#include "net/http_server.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;

std::uint16_t port_of(const Config& config, std::string_view key) {
  return static_cast<std::uint16_t>(config.integer(key));
}

AnonymousRead anonymous_read(const Config& config) {
  const auto text = config.text("betrace.admin.anonymous");
  if (text == "never") return AnonymousRead::never;
  return text == "always" ? AnonymousRead::always : AnonymousRead::loopback;
}

ApiSettings api_settings(const Config& config, AdminAccess access) {
  const auto days = config.integer("kms.rotation.max-age-days");
  return {
      .admin_token = std::move(access.token),
      .admin_token_place = std::move(access.place),
      .anonymous = anonymous_read(config),
      .public_keys_anonymous = config.flag("betrace.kms.public-keys.anonymous"),
      .auto_create_tenants = config.flag("betrace.kms.tenants.auto-create"),
      .private_key_ttl = std::chrono::minutes(config.integer("kms.cache.private-key-ttl-minutes")),
      .public_key_ttl = std::chrono::hours(config.integer("kms.cache.public-key-ttl-hours")),
      .encryption_key_ttl =
          std::chrono::minutes(config.integer("kms.cache.encryption-key-ttl-minutes")),
      .cache_entries_max = static_cast<std::size_t>(config.integer("kms.cache.max-size")),
      .rotation_max_age = std::chrono::days(days),
      .node_lease = std::chrono::seconds(config.integer("betrace.kms.node-lease-seconds")),
      .version = std::string(version())};
}

Result<HttpServerOptions> server_options(const Config& config) {
  HttpServerOptions options{.host = config.text("quarkus.http.host"),
                            .plain = config.text("quarkus.http.insecure-requests") != "disabled",
                            .port = port_of(config, "quarkus.http.port")};
  options.io_threads = std::max(1U, std::thread::hardware_concurrency());
  if (config.text("quarkus.http.insecure-requests") == "redirect") {
    return fail(ErrorCode::not_implemented,
                "quarkus.http.insecure-requests=redirect is not in this release yet; enabled or "
                "disabled is accepted");
  }
  const auto certificate = config.text("quarkus.http.ssl.certificate.files");
  const auto key = config.text("quarkus.http.ssl.certificate.key-files");
  if (!certificate.empty()) {
    options.tls = TlsOptions{.port = port_of(config, "quarkus.http.ssl-port"),
                             .certificate_file = certificate,
                             .key_file = key};
  }
  return options;
}

// Of tenants whose first span came, with its line in the audit log.
std::function<void(const CallContext&, const TenantId&, Done<TenantDescription>)> creation_of(
    KeyService& keys, AuditSink& audit) {
  return [&](const CallContext& call, const TenantId& tenant, Done<TenantDescription> done) {
    keys.create_tenant(
        call, tenant,
        [&audit, call, tenant, done = std::move(done)](Result<TenantDescription> made) mutable {
          if (made && !made->created) return done(std::move(made));
          const auto recorded = audit.record({.at = system_clock().now(),
                                              .principal = call.principal.name,
                                              .verb = "create-tenant",
                                              .tenant = tenant.str(),
                                              .outcome = made ? "ok" : to_string(made.error().code),
                                              .request_id = call.request_id});
          done(recorded ? std::move(made) : std::unexpected(recorded.error()));
        });
  };
}

// The keys' texts, split at commas.
Result<Frameworks> frameworks_of(const Config& config) {
  constexpr std::string_view setting = "betrace.evidence.controls";
  std::vector<std::string> more;
  std::string text = config.text(setting);
  std::erase(text, ' ');
  for (const auto part : std::views::split(text, ',')) {
    if (!part.empty()) more.emplace_back(part.begin(), part.end());
  }
  const bool pass = config.text("betrace.evidence.unknown-controls") == "pass";
  auto made =
      Frameworks::with(more, pass ? Frameworks::Unknown::pass : Frameworks::Unknown::refuse);
  if (!made) made.error().message = fmt::format("{}: {}", setting, made.error().message);
  return made;
}

std::unique_ptr<EvidenceArchive> archive_of(Core::Parts& service) {
  return std::make_unique<Archive>(ArchiveParts{
      .log = service.evidence_log.get(),
      .keys = *service.keys,
      .clock = system_clock(),
      .assert_statement = [&service](const CallContext& call, std::string_view type,
                                     std::string_view payload) -> Result<std::string> {
        const auto key = TRY(service.keys->service_key().get(call));
        const auto signature = sign_assertion(*key, dsse_encode(type, as_bytes(payload)));
        const EnvelopeSignature by_service{key->id, signature};
        return dsse_envelope(type, payload, {&by_service, 1});
      }});
}

std::string address(std::string_view scheme, const std::string& host, std::uint16_t port) {
  const bool bare_v6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return fmt::format("{}://{}{}{}:{}", scheme, bare_v6 ? "[" : "", host, bare_v6 ? "]" : "", port);
}

}  // namespace

struct Front::Parts {
  AdminAuthorizer authorizer;
  LogAuditSink audit;
  std::unique_ptr<EvidenceService> evidence;
  std::unique_ptr<EvidenceArchive> archive;
  std::unique_ptr<OtlpIngest> stream;
  std::unique_ptr<Router> router;
  std::unique_ptr<HttpServer> server;
  std::vector<std::string> addresses;
};

Front::Front(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Front::~Front() = default;

Result<std::unique_ptr<Front>> Front::start(Core& core, const Config& config, AdminAccess access) {
  auto options = TRY(server_options(config));
  const auto host = options.host;
  auto parts = std::make_unique<Parts>();
  auto& service = core.parts();
  const EvidenceParts evidence{.keys = *service.keys,
                               .signer = *service.keys,
                               .authorizer = parts->authorizer,
                               .metrics = *service.metrics,
                               .frameworks = TRY(frameworks_of(config)),
                               .create_tenant = config.flag("betrace.kms.tenants.auto-create")
                                                    ? creation_of(*service.keys, parts->audit)
                                                    : nullptr,
                               .log = service.evidence_log.get(),
                               .blocking = &*service.heavy_threads};
  parts->evidence = std::make_unique<EvidenceService>(evidence);
  parts->stream = std::make_unique<OtlpIngest>(
      OtlpIngestParts{.evidence = evidence,
                      .forwards = service.forward_http != nullptr,
                      .log_only = config.text("betrace.otlp.signing") == "log"});
  parts->archive = archive_of(service);
  parts->router =
      std::make_unique<Router>(ApiParts{.keys = *service.keys,
                                        .lifecycle = *service.lifecycle,
                                        .rotation = *service.rotation,
                                        .migration = *service.migrator,
                                        .evidence = *parts->evidence,
                                        .archive = *parts->archive,
                                        .stream = *parts->stream,
                                        .monitor = *service.monitor,
                                        .doctor = *service.doctor,
                                        .metrics = *service.metrics,
                                        .authorizer = parts->authorizer,
                                        .audit = parts->audit,
                                        .clock = system_clock(),
                                        .heavy = *service.heavy_threads,
                                        .settings = api_settings(config, std::move(access)),
                                        .tracer = service.traces()});
  parts->server = TRY(HttpServer::start(std::move(options), *parts->router));
  if (const auto port = parts->server->port(); port != 0) {
    parts->addresses.push_back(address("http", host, port));
  }
  if (const auto port = parts->server->tls_port(); port != 0) {
    parts->addresses.push_back(address("https", host, port));
  }
  return std::unique_ptr<Front>(new Front(std::move(parts)));
}

const std::vector<std::string>& Front::addresses() const { return parts_->addresses; }

Status Front::reload_tls() {
  return parts_->server->tls_port() == 0 ? Status{} : parts_->server->reload_tls();
}

bool Front::drain(milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  // The server goes first: a request that has begun to arrive is still taken.
  parts_->server->stop(timeout);
  parts_->router->begin_shutdown();
  // A request whose connection was cut still runs, and uses what is about to go.
  while (parts_->router->in_flight() > 0) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

}  // namespace betrace::kms
