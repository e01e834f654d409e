// Stand-ins for what stands behind the HTTP room: a KeyService with real Ed25519 and a toy cipher
// (the context and the plaintext in the clear, so that tests see what was bound), a Monitor, an
// AuditSink, and a connection that keeps the answer. Errors and delays are set by the test.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "betrace/kms/audit_sink.h"
#include "betrace/kms/doctor.h"
#include "betrace/kms/key_service.h"
#include "betrace/kms/monitor.h"
#include "betrace/kms/provider.h"

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/http.h"

namespace betrace::kms {

class FakeKeyService final : public KeyService {
 public:
  // Every verb answers this, once, before it does anything.
  std::optional<Error> next_error;
  // Calls are kept in `waiting` instead of being answered.
  bool holding = false;
  std::deque<std::function<void()>> waiting;
  CallContext last_call;
  std::size_t last_batch = 0;
  int created = 0;
  std::uint64_t cached = 3;
  bool stale = false;               // what signatures say of themselves
  bool encryption_revoked = false;  // every ciphertext is of a revoked version
  int rewrapped = 0;

  void create_tenant(CallContext call, TenantId id, Done<TenantDescription> done) override {
    respond<TenantDescription>(call, std::move(done), [this, id]() -> Result<TenantDescription> {
      const bool fresh = !tenants_.contains(id.str());
      if (fresh) {
        ++created;
        tenants_[id.str()] = fresh_keys(id);
      }
      auto description = describe(id);
      if (description) description->created = fresh;
      return description;
    });
  }
  void describe_tenant(CallContext call, TenantId id, Done<TenantDescription> done) override {
    respond<TenantDescription>(call, std::move(done), [this, id] { return describe(id); });
  }
  void list_tenants(CallContext call, Page page, Done<std::vector<TenantRecord>> done) override {
    respond<std::vector<TenantRecord>>(
        call, std::move(done), [this, page]() -> Result<std::vector<TenantRecord>> {
          std::vector<TenantRecord> found;
          for (auto it = tenants_.upper_bound(page.after);
               it != tenants_.end() && found.size() < page.limit; ++it) {
            found.push_back({.id = TenantId::from_store(it->first), .created_at = created_at()});
          }
          return found;
        });
  }
  void sign(CallContext call, const TenantId& id, std::span<const ByteView> payloads,
            Done<std::vector<Result<Signature>>> done) override {
    last_batch = payloads.size();
    respond<std::vector<Result<Signature>>>(
        call, std::move(done), [this, &id, payloads]() -> Result<std::vector<Result<Signature>>> {
          const auto found = tenants_.find(id.str());
          if (found == tenants_.end()) return unknown(id);
          std::vector<Result<Signature>> out;
          for (const auto payload : payloads) {
            out.push_back(sign_one(found->second, payload));
            if (out.back()) out.back()->stale = stale;
          }
          return out;
        });
  }
  void verify(CallContext call, const TenantId& id, std::span<const VerifyRequest> requests,
              Done<std::vector<Result<Verification>>> done) override {
    last_batch = requests.size();
    respond<std::vector<Result<Verification>>>(
        call, std::move(done),
        [this, &id, requests]() -> Result<std::vector<Result<Verification>>> {
          const auto found = tenants_.find(id.str());
          if (found == tenants_.end()) return unknown(id);
          std::vector<Result<Verification>> out;
          for (const auto& request : requests) out.push_back(verify_one(found->second, request));
          return out;
        });
  }
  void encrypt(CallContext call, const TenantId& id, std::span<const ByteView> plaintexts,
               const EncryptionContext& context, Done<std::vector<Result<Bytes>>> done) override {
    respond<std::vector<Result<Bytes>>>(
        call, std::move(done),
        [this, &id, plaintexts, &context]() -> Result<std::vector<Result<Bytes>>> {
          if (!tenants_.contains(id.str())) return unknown(id);
          std::vector<Result<Bytes>> out;
          for (const auto plaintext : plaintexts) {
            auto sealed = bound(id, context);
            sealed.insert(sealed.end(), plaintext.begin(), plaintext.end());
            out.emplace_back(std::move(sealed));
          }
          return out;
        });
  }
  void decrypt(CallContext call, const TenantId& id, std::span<const ByteView> ciphertexts,
               const DecryptOptions& options, Done<std::vector<Result<WipedBytes>>> done) override {
    respond<std::vector<Result<WipedBytes>>>(
        call, std::move(done),
        [this, &id, ciphertexts, &options]() -> Result<std::vector<Result<WipedBytes>>> {
          if (!tenants_.contains(id.str())) return unknown(id);
          std::vector<Result<WipedBytes>> out;
          for (const auto ciphertext : ciphertexts) {
            out.push_back(open_one(id, options, ciphertext));
          }
          return out;
        });
  }
  void rewrap(CallContext call, const TenantId& id, std::span<const ByteView> ciphertexts,
              const DecryptOptions& options, Done<std::vector<Result<Bytes>>> done) override {
    respond<std::vector<Result<Bytes>>>(
        call, std::move(done),
        [this, &id, ciphertexts, &options]() -> Result<std::vector<Result<Bytes>>> {
          if (!tenants_.contains(id.str())) return unknown(id);
          std::vector<Result<Bytes>> out;
          for (const auto ciphertext : ciphertexts) {
            auto opened = open_one(id, options, ciphertext);
            if (!opened) {
              out.push_back(std::unexpected(std::move(opened).error()));
            } else {
              ++rewrapped;
              out.emplace_back(Bytes(ciphertext.begin(), ciphertext.end()));
            }
          }
          return out;
        });
  }
  void data_key(CallContext call, const TenantId& id, const EncryptionContext& context,
                Done<SealedDataKey> done) override {
    respond<SealedDataKey>(call, std::move(done), [this, &id, &context]() -> Result<SealedDataKey> {
      if (!tenants_.contains(id.str())) return unknown(id);
      SealedDataKey key{.plaintext = SecretBytes::random(32), .ciphertext = bound(id, context)};
      const auto plaintext = key.plaintext.expose();
      key.ciphertext.insert(key.ciphertext.end(), plaintext.begin(), plaintext.end());
      return key;
    });
  }
  void rotate(CallContext call, TenantId id, Done<std::vector<KeyRecord>> done) override {
    respond<std::vector<KeyRecord>>(
        call, std::move(done), [this, id]() -> Result<std::vector<KeyRecord>> {
          const auto found = tenants_.find(id.str());
          if (found == tenants_.end()) return unknown(id);
          std::vector<KeyRecord> fresh;
          for (const auto type : {KeyType::signing, KeyType::encryption}) {
            auto& keys = found->second.records;
            for (auto& key : keys) {
              if (key.type != type || key.state != KeyState::active) continue;
              key.state = KeyState::rotated;
              key.state_changed_at = created_at();
            }
            fresh.push_back(add_key(found->second, id, type));
          }
          return fresh;
        });
  }
  void public_keys(CallContext call, const TenantId& id,
                   Done<std::vector<PublicKey>> done) override {
    respond<std::vector<PublicKey>>(
        call, std::move(done), [this, &id]() -> Result<std::vector<PublicKey>> {
          const auto found = tenants_.find(id.str());
          if (found == tenants_.end()) return unknown(id);
          std::vector<PublicKey> keys;
          for (const auto& key : found->second.records) {
            if (key.type != KeyType::signing) continue;
            PublicKey shown{.id = key.id,
                            .version = key.version,
                            .state = key.state,
                            .created_at = key.created_at,
                            .state_changed_at = key.state_changed_at,
                            .bytes = {},
                            .reason = key.reason,
                            .attestation_envelope = envelope("attestation")};
            if (key.version > 1) shown.succession_envelope = envelope("succession");
            std::copy_n(key.public_key.begin(), 32, shown.bytes.begin());
            keys.insert(keys.begin(), shown);
          }
          return keys;
        });
  }
  void retrieve_signing_key(CallContext call, const TenantId& id, Done<bool> done) override {
    respond<bool>(call, std::move(done), [this, &id]() -> Result<bool> {
      if (!tenants_.contains(id.str())) return unknown(id);
      return true;
    });
  }
  CacheReport cache_report() const override {
    CacheReport report;
    report.private_keys.size = cached;
    report.public_keys.size = 2;
    report.encryption_keys.size = 1;
    return report;
  }

  void add_tenant(std::string id) { tenants_[id] = fresh_keys(TenantId::from_store(id)); }
  void set_state(const std::string& tenant, std::uint32_t version, KeyState state) {
    for (auto& key : tenants_.at(tenant).records) {
      if (key.type != KeyType::signing || key.version != version) continue;
      key.state = state;
      if (state != KeyState::revoked) continue;
      key.state_changed_at = created_at() + std::chrono::hours(24);
      key.reason = "laptop lost";
    }
  }
  // In the form of a DSSE envelope.
  static std::string envelope(const std::string& type) {
    return R"({"payload":"e30=","payloadType":"application/vnd.betrace.)" + type +
           R"(.v1+json","signatures":[{"keyid":"k","sig":"AAAA"}]})";
  }
  static SystemTime created_at() {
    return SystemTime(std::chrono::milliseconds(1'763'856'000'123));  // 2025-11-23T00:00:00.123Z
  }

 private:
  struct Keys {
    std::vector<KeyRecord> records;
    std::map<std::uint32_t, SecretBytes> signing;  // version → key
  };

  template <class T, class Compute>
  void respond(const CallContext& call, Done<T> done, Compute compute) {
    last_call = call;
    if (next_error) {
      auto error = *std::exchange(next_error, std::nullopt);
      return done(std::unexpected(std::move(error)));
    }
    if (!holding) return done(compute());
    auto kept = std::make_shared<Done<T>>(std::move(done));
    waiting.emplace_back([kept, compute] { (*kept)(compute()); });
  }

  static std::unexpected<Error> unknown(const TenantId& id) {
    return fail(ErrorCode::tenant_not_found, "no tenant " + id.str());
  }
  Result<TenantDescription> describe(const TenantId& id) const {
    const auto found = tenants_.find(id.str());
    if (found == tenants_.end()) return unknown(id);
    return TenantDescription{.tenant = {.id = id, .created_at = created_at()},
                             .keys = found->second.records};
  }
  KeyRecord add_key(Keys& keys, const TenantId& id, KeyType type) {
    KeyRecord record{.id = KeyId::generate(created_at()),
                     .tenant = id,
                     .type = type,
                     .version = 1,
                     .state = KeyState::active,
                     .created_at = created_at(),
                     .state_changed_at = {},
                     .reason = {},
                     .public_key = {},
                     .attestation = {},
                     .wrappings = {}};
    for (const auto& key : keys.records) record.version += key.type == type ? 1 : 0;
    if (type == KeyType::signing) {
      auto key = ed25519_key_from_seed(SecretBytes::random(32));
      const auto half = ed25519_public_half(key);
      record.public_key.assign(half.begin(), half.end());
      keys.signing[record.version] = std::move(key);
    }
    keys.records.push_back(record);
    return record;
  }
  Keys fresh_keys(const TenantId& id) {
    Keys keys;
    add_key(keys, id, KeyType::signing);
    add_key(keys, id, KeyType::encryption);
    return keys;
  }
  static Result<Signature> sign_one(const Keys& keys, ByteView payload) {
    if (is_own_assertion(payload)) {
      return fail(ErrorCode::reserved_payload, "the payload is an assertion of the service itself");
    }
    SignJob job{.key = &keys.signing.rbegin()->second, .payload = payload};
    sodium_signer().sign({&job, 1});
    Signature signature{
        .key_id = {}, .version = keys.signing.rbegin()->first, .bytes = job.signature};
    for (const auto& key : keys.records) {
      if (key.type == KeyType::signing && key.version == signature.version)
        signature.key_id = key.id;
    }
    return signature;
  }
  static Result<Verification> verify_one(const Keys& keys, const VerifyRequest& request) {
    Verification answer;
    bool found = false;
    for (auto key = keys.records.rbegin(); key != keys.records.rend(); ++key) {
      if (key->type != KeyType::signing || (request.key_id && *request.key_id != key->id) ||
          (request.version && *request.version != key->version)) {
        continue;
      }
      VerifyJob job{.public_key = key->public_key,
                    .payload = request.payload,
                    .signature = request.signature};
      sodium_signer().verify({&job, 1});
      if (found && !job.valid) continue;
      found = true;
      const bool revoked = key->state == KeyState::revoked;
      answer = {.valid = job.valid,
                .key_id = key->id,
                .version = key->version,
                .key_state = key->state,
                .trusted = job.valid && !revoked,
                .revoked_at = revoked ? key->state_changed_at : std::nullopt,
                .revocation_reason = key->reason};
      if (job.valid) break;
    }
    if (!found) return fail(ErrorCode::key_not_found, "no such key version");
    return answer;
  }
  static Bytes bound(const TenantId& id, const EncryptionContext& context) {
    const auto text = id.str() + canonical_json(context);
    return {text.begin(), text.end()};
  }
  Result<WipedBytes> open_one(const TenantId& id, const DecryptOptions& options,
                              ByteView ciphertext) const {
    const auto expected = bound(id, options.context);
    if (ciphertext.size() < expected.size() ||
        !std::equal(expected.begin(), expected.end(), ciphertext.begin())) {
      return fail(ErrorCode::invalid_ciphertext,
                  std::string(context_mismatch_message) + " or the ciphertext was altered");
    }
    if (encryption_revoked && !options.allow_revoked) {
      return fail(ErrorCode::permission_denied, "key version 1 is revoked");
    }
    const auto rest = ciphertext.subspan(expected.size());
    return WipedBytes(rest.begin(), rest.end());
  }

  std::map<std::string, Keys> tenants_;
};

class FakeMonitor final : public Monitor {
 public:
  HealthState state{.started = true,
                    .up = true,
                    .serving = true,
                    .provider = "local",
                    .latency = std::chrono::milliseconds(7),
                    .error = {}};
  std::vector<std::string> problems;
  std::vector<BreakerReport> breaker_list{{"kms-signing-key", BreakerState::closed},
                                          {"kms-public-key", BreakerState::open},
                                          {"kms-encryption-key", BreakerState::half_open}};
  ValidationReport report;

  HealthState health() const override { return state; }
  ProbeReport last_probe() const override { return {.provider = state.provider}; }
  std::vector<BreakerReport> breakers() const override { return breaker_list; }
  std::vector<std::string> issues() const override { return problems; }
  void validate(CallContext, Done<ValidationReport> done) override { done(report); }
};

class FakeDoctor final : public Doctor {
 public:
  DoctorReport findings;
  DoctorReport report() const override { return findings; }
};

class RecordingAudit final : public AuditSink {
 public:
  struct Entry {
    std::string principal, verb, tenant, outcome, request_id;
  };
  std::vector<Entry> entries;
  std::optional<Error> error;

  Status record(const AuditEvent& event) override {
    if (error) return std::unexpected(*error);
    entries.push_back({std::string(event.principal), std::string(event.verb),
                       std::string(event.tenant), std::string(event.outcome),
                       std::string(event.request_id)});
    return {};
  }
};

// Owns a request's text and keeps the answer to it.
class FakeConnection final : public Reply::Connection {
 public:
  struct Sent {
    std::string method = "GET";
    std::string target;
    Headers headers;
    std::string body;
    bool peer_is_loopback = true;
  };
  FakeConnection(Sent sent, std::chrono::steady_clock::time_point received_at)
      : sent_(std::move(sent)) {
    for (const auto& [name, value] : sent_.headers) views_.emplace_back(name, value);
    const std::string_view target = sent_.target;
    const auto question = target.find('?');
    request_ =
        Request{.method = sent_.method,
                .target = target,
                .path = target.substr(0, question),
                .query = question == std::string_view::npos ? "" : target.substr(question + 1),
                .headers = views_,
                .body = WipedString(sent_.body.begin(), sent_.body.end()),
                .peer_is_loopback = sent_.peer_is_loopback,
                .tls = false,
                .received_at = received_at};
  }
  const Request& request() const override { return request_; }
  void send(Response response) override { response_ = std::move(response); }

  const std::optional<Response>& response() const { return response_; }

 private:
  const Sent sent_;
  std::vector<std::pair<std::string_view, std::string_view>> views_;
  Request request_;
  std::optional<Response> response_;
};

}  // namespace betrace::kms
