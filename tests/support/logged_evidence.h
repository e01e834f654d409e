// Signed spans with the log behind them, and its readers, over a key service in memory.
#pragma once

#include <future>
#include <memory>
#include <string>

#include <fmt/format.h>

#include "base/envelope.h"
#include "core/succession.h"
#include "evidence/archive.h"
#include "evidence/evidence_service.h"
#include "evidence/span.h"
#include "support/service_fixture.h"
#include "support/temporary_directory.h"

namespace betrace::kms {

class AllowEverything final : public Authorizer {
 public:
  bool allow(const Principal&, std::string_view, std::string_view) const override { return true; }
};

class LoggedEvidence : public ServiceFixture {
 protected:
  LoggedEvidence() {
    create(acme);
    create(other);
    open_log();
  }
  void open_log() {
    slot.reset();
    slot = std::make_unique<LogSlot>(
        [this]() {
          const LogKeySeal seal{.seal = [](const SecretBytes& secret) -> Result<Bytes> {
                                  return Bytes(secret.expose().begin(), secret.expose().end());
                                },
                                .open = [](ByteView sealed) -> Result<SecretBytes> {
                                  return SecretBytes::copy_of(sealed);
                                }};
          return EvidenceLog::open({.folder = folder.path() + "/evidence"},
                                   {.seal = seal, .clock = clock, .metrics = metrics});
        },
        clock);
    evidence = std::make_unique<EvidenceService>(
        EvidenceParts{.keys = *service,
                      .signer = *service,
                      .authorizer = authorizer,
                      .metrics = metrics,
                      .frameworks = Frameworks::with({}, Frameworks::Unknown::refuse).value(),
                      .log = slot.get(),
                      .blocking = &blocking});
    archive = std::make_unique<Archive>(ArchiveParts{
        .log = slot.get(),
        .keys = *service,
        .clock = clock,
        .assert_statement = [this](const CallContext& by, std::string_view type,
                                   std::string_view payload) -> Result<std::string> {
          const auto key = service->service_key().get(by).value();
          const auto signature = sign_assertion(*key, dsse_encode(type, as_bytes(payload)));
          const EnvelopeSignature by_service{key->id, signature};
          return dsse_envelope(type, payload, {&by_service, 1});
        }});
  }
  static std::string span(std::string_view tenant, std::string_view time) {
    return fmt::format(
        R"({{"framework":"soc2","control":"CC6_1","tenantId":"{}","timestamp":"{}"}})", tenant,
        time);
  }
  Result<Evidence::Items<Result<WipedString>>> sign(std::string_view document) {
    std::promise<Result<Evidence::Items<Result<WipedString>>>> promise;
    evidence->sign_spans(call, document, [&](Result<Evidence::Items<Result<WipedString>>> done) {
      promise.set_value(std::move(done));
    });
    return promise.get_future().get();
  }
  Evidence::Items<Result<WipedString>> sign_all(std::initializer_list<std::string> spans) {
    std::string list;
    for (const auto& each : spans) list += (list.empty() ? "" : ",") + each;
    return sign(fmt::format(R"({{"spans":[{}]}})", list)).value();
  }
  static SystemTime at(std::string_view time) { return rfc3339_time(time).value(); }

  TemporaryDirectory folder;
  AllowEverything authorizer;
  InlineExecutor blocking;
  std::unique_ptr<LogSlot> slot;
  std::unique_ptr<EvidenceService> evidence;
  std::unique_ptr<Archive> archive;
};

}  // namespace betrace::kms
