// The spans of key retrieval, hits and misses: what KeyServiceImpl::find_cached() and load_cached()
// do around the caches.
#pragma once

#include <utility>

#include "core/key_service_impl.h"

namespace betrace::kms {

template <class Value>
struct RetrievalName;
template <>
struct RetrievalName<SigningKey> {
  static constexpr const char *span = "kms.retrieve_signing_key", *key_type = "signing";
};
template <>
struct RetrievalName<PublicKeySet> {
  static constexpr const char *span = "kms.retrieve_public_key", *key_type = "public";
};
template <>
struct RetrievalName<EncryptionKey> {
  static constexpr const char *span = "kms.retrieve_encryption_key", *key_type = "encryption";
};

template <class Value>
Span retrieval_span(const Tracer& tracer, const CallContext& call, const TenantId& tenant) {
  auto span = tracer.start(RetrievalName<Value>::span, SpanKind::internal, call.trace);
  span.set("tenant.id", tenant.str());
  span.set("key.type", std::string_view(RetrievalName<Value>::key_type));
  return span;
}

template <class Value>
auto KeyServiceImpl::find_cached(KeyCache<Value>& cache, const CallContext& call,
                                 const TenantId& tenant, std::uint32_t version)
    -> KeyCache<Value>::Found {
  if (!parts_.tracer.on()) return cache.find(tenant, version);
  auto span = retrieval_span<Value>(parts_.tracer, call, tenant);
  auto found = cache.find(tenant, version);
  span.set("cache.hit", true);
  if (!found) span.drop();  // load_cached() makes one of its own
  return found;
}

template <class Value>
void KeyServiceImpl::load_cached(KeyCache<Value>& cache, const CallContext& call,
                                 const TenantId& tenant, std::uint32_t version,
                                 Done<typename KeyCache<Value>::Found> done) {
  using Found = KeyCache<Value>::Found;
  if (!parts_.tracer.on()) return cache.load(call, tenant, version, std::move(done));
  auto span = retrieval_span<Value>(parts_.tracer, call, tenant);
  span.set("cache.hit", false);
  CallContext traced = call;
  traced.trace = span.context();
  cache.load(traced, tenant, version,
             [span = std::move(span), done = std::move(done)](Result<Found> found) mutable {
               if (!found) span.fail(found.error().message);
               span.end();
               done(std::move(found));
             });
}

}  // namespace betrace::kms
