// The key service over a store in memory, a fake provider, executors without threads and a clock
// that stands still: no socket, no sleep.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "core/guarded_provider.h"
#include "core/key_service_impl.h"
#include "core/sealing.h"
#include "stores/memory_store.h"
#include "support/fake_clock.h"
#include "support/fake_executor.h"
#include "support/fake_provider.h"

namespace betrace::kms {

struct ServiceFixture : testing::Test {
  FakeClock clock;
  MemoryStore store{[this] {
    const auto since = clock.steady_now().time_since_epoch();
    return LeaseTime{.boot = "boot",
                     .milliseconds = std::chrono::floor<std::chrono::milliseconds>(since).count()};
  }};
  FakeProvider provider;
  Metrics metrics{"fake"};
  InlineExecutor store_threads, provider_threads;
  KeyOpener opener{{&provider, &provider}};
  std::unique_ptr<KeyServiceImpl> service = restart();
  const CallContext call = CallContext::system("test");
  const TenantId acme = TenantId::parse("acme").value();
  const TenantId other = TenantId::parse("other").value();

  // A service over the same store, with empty caches.
  std::unique_ptr<KeyServiceImpl> restart(KeyServiceOptions options = {}) {
    return std::make_unique<KeyServiceImpl>(
        KeyServiceParts{store, opener, store_threads, provider_threads, clock, metrics}, options);
  }

  TenantDescription create(const TenantId& tenant) {
    auto made = wait<TenantDescription>(
        [&](auto done) { service->create_tenant(call, tenant, std::move(done)); });
    EXPECT_TRUE(made) << made.error().message;
    return made.value_or(TenantDescription{.tenant = {.id = tenant}});
  }
  Result<Signature> sign(const TenantId& tenant, std::string_view payload) {
    const ByteView view = as_bytes(payload);
    auto results = wait<std::vector<Result<Signature>>>(
        [&](auto done) { service->sign(call, tenant, {&view, 1}, std::move(done)); });
    if (!results) return std::unexpected(results.error());
    return results->front();
  }
  Result<Verification> verify(const TenantId& tenant, std::string_view payload, ByteView signature,
                              std::optional<KeyId> key = {},
                              std::optional<std::uint32_t> version = {}) {
    const VerifyRequest request{
        .payload = as_bytes(payload), .signature = signature, .key_id = key, .version = version};
    auto results = wait<std::vector<Result<Verification>>>(
        [&](auto done) { service->verify(call, tenant, {&request, 1}, std::move(done)); });
    if (!results) return std::unexpected(results.error());
    return results->front();
  }
  Result<Bytes> encrypt(const TenantId& tenant, std::string_view plaintext,
                        const EncryptionContext& context = {}) {
    const ByteView view = as_bytes(plaintext);
    auto results = wait<std::vector<Result<Bytes>>>(
        [&](auto done) { service->encrypt(call, tenant, {&view, 1}, context, std::move(done)); });
    if (!results) return std::unexpected(results.error());
    return results->front();
  }
  Result<std::string> decrypt(const TenantId& tenant, ByteView ciphertext,
                              const EncryptionContext& context = {}, bool allow_revoked = false) {
    const DecryptOptions options{.context = context, .allow_revoked = allow_revoked};
    auto results = wait<std::vector<Result<WipedBytes>>>([&](auto done) {
      service->decrypt(call, tenant, {&ciphertext, 1}, options, std::move(done));
    });
    if (!results) return std::unexpected(results.error());
    if (!results->front()) return std::unexpected(results->front().error());
    return std::string(as_text(*results->front()));
  }
  Result<std::vector<KeyRecord>> rotate(const TenantId& tenant) {
    return wait<std::vector<KeyRecord>>(
        [&](auto done) { service->rotate(call, tenant, std::move(done)); });
  }
};

}  // namespace betrace::kms
