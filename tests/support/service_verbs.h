// The verbs of a key service, one payload a call, waited for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "core/key_service_impl.h"

namespace betrace::kms {

struct ServiceVerbs {
  std::unique_ptr<KeyServiceImpl> service;
  const CallContext call = CallContext::system("test");

  Result<TenantDescription> try_create(const TenantId& tenant) {
    return wait<TenantDescription>(
        [&](auto done) { service->create_tenant(call, tenant, std::move(done)); });
  }
  TenantDescription create(const TenantId& tenant) {
    auto made = try_create(tenant);
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
