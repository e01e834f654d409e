// Revoking and destroying, on one daemon and on several.
#include <boost/json.hpp>

#include "core/destruction.h"
#include "core/succession.h"
#include "support/life_fixture.h"

namespace betrace::kms {
namespace {

struct LifecycleTest : LifeFixture {
  LifecycleTest() { create(acme); }
  std::unique_ptr<Daemon> one = daemon("one");
  std::vector<PublicKey> published(const TenantId& tenant) {
    auto keys = wait<std::vector<PublicKey>>(
        [&](auto done) { service->public_keys(call, tenant, std::move(done)); });
    EXPECT_TRUE(keys) << keys.error().message;
    return keys.value_or(std::vector<PublicKey>());
  }
};

TEST_F(LifecycleTest, RevokingTheActiveVersionGivesItASuccessorFirst) {
  const auto key = active(acme);
  auto revoked = revoke(*one, acme, key.id);
  settle({one.get()});
  ASSERT_TRUE(revoked && *revoked) << (*revoked).error().message;
  EXPECT_EQ((*revoked)->revoked.state, KeyState::revoked);
  EXPECT_EQ((*revoked)->revoked.reason, "laptop lost");
  ASSERT_TRUE((*revoked)->successor);
  EXPECT_EQ((*revoked)->successor->version, 2U);
  EXPECT_EQ(active(acme).id, (*revoked)->successor->id);
  EXPECT_EQ(active(acme, KeyType::encryption).version, 1U);
}

// The log proves a span older than the revocation by a checkpoint whose time is before it.
TEST_F(LifecycleTest, ARevocationIsLaterThanWhatWasDoneBeforeIt) {
  SystemTime before{};
  before_revocation = [&] { before = clock.now(); };
  const auto two = daemon("two");
  auto revoked = revoke(*two, acme, active(acme).id);
  settle({one.get(), two.get()});
  ASSERT_TRUE(revoked && *revoked);
  EXPECT_GT(before, SystemTime());
  EXPECT_GT((*revoked)->revoked.state_changed_at, before);
}

TEST_F(LifecycleTest, ARevokedKeysSignatureIsValidAndNotTrusted) {
  const auto signature = sign(acme, "evidence").value();
  auto revoked = revoke(*one, acme, signature.key_id);
  settle({one.get()});
  ASSERT_TRUE(revoked && *revoked);
  service = restart();
  const auto verified = verify(acme, "evidence", signature.bytes);
  ASSERT_TRUE(verified);
  EXPECT_TRUE(verified->valid);
  EXPECT_FALSE(verified->trusted);
  EXPECT_EQ(verified->key_state, KeyState::revoked);
  EXPECT_EQ(verified->revocation_reason, "laptop lost");
  EXPECT_TRUE(verified->revoked_at);
  EXPECT_EQ(sign(acme, "evidence")->version, 2U);
}

TEST_F(LifecycleTest, RevokingTwiceAnswersWhatIs) {
  const auto key = active(acme);
  auto first = revoke(*one, acme, key.id);
  settle({one.get()});
  auto second = revoke(*one, acme, key.id);
  settle({one.get()});
  ASSERT_TRUE(second && *second);
  EXPECT_FALSE((*second)->successor);
  EXPECT_EQ(active(acme).version, 2U);
}

TEST_F(LifecycleTest, AnUnknownKeyIsNotFound) {
  auto revoked = revoke(*one, acme, KeyId::generate(clock.now()));
  ASSERT_TRUE(revoked);
  EXPECT_EQ((*revoked).error().code, ErrorCode::key_not_found);
}

TEST_F(LifecycleTest, TheAnswerWaitsForADaemonThatHasNotApplied) {
  const auto other_daemon = daemon("two");
  auto revoked = revoke(*one, acme, active(acme).id);
  settle({one.get()});
  EXPECT_FALSE(revoked) << "the other daemon is alive and does not know";
  settle({other_daemon.get(), one.get()});
  EXPECT_TRUE(revoked);
}

TEST_F(LifecycleTest, TheAnswerWaitsForTheLeaseOfADaemonThatIsAsleepWhichThenSignsNothing) {
  const auto asleep = daemon("two");
  const auto ask = [&] {
    const ByteView payload = as_bytes("evidence");
    auto results = wait<std::vector<Result<Signature>>>(
        [&](auto done) { asleep->service->sign(call, acme, {&payload, 1}, std::move(done)); });
    return results ? Result<std::uint32_t>(results->front()->version)
                   : Result<std::uint32_t>(std::unexpected(results.error()));
  };
  EXPECT_EQ(ask(), 1U);
  auto revoked = revoke(*one, acme, active(acme).id);
  clock.advance(lease - std::chrono::seconds(1));
  settle({one.get()});
  EXPECT_FALSE(revoked);
  clock.advance(std::chrono::seconds(1));
  settle({one.get()});
  ASSERT_TRUE(revoked && *revoked);
  // It wakes, with the old key in its cache.
  ASSERT_FALSE(ask());
  EXPECT_EQ(ask().error().code, ErrorCode::store_unavailable);
  ASSERT_TRUE(asleep->membership.beat());
  EXPECT_EQ(ask(), 2U);
}

TEST_F(LifecycleTest, ADaemonThatCanReadButNotWriteGoesOnAndLearnsInTime) {
  const auto full_disk = daemon("two");
  store.before_each([&](std::string_view verb) -> Status {
    if (verb == "beat") return fail(ErrorCode::store_unavailable, "the disk is full");
    return {};
  });
  for (int i = 0; i < 300; ++i) {
    clock.advance(std::chrono::milliseconds(150));
    static_cast<void>(full_disk->membership.beat());
  }
  const ByteView payload = as_bytes("x");
  const auto sign_there = [&] {
    return wait<std::vector<Result<Signature>>>(
        [&](auto done) { full_disk->service->sign(call, acme, {&payload, 1}, std::move(done)); });
  };
  EXPECT_TRUE(sign_there());
  clock.advance(std::chrono::milliseconds(450));
  EXPECT_EQ(sign_there().error().code, ErrorCode::store_unavailable);
}

TEST_F(LifecycleTest, AfterACompromiseTheServiceKeySignsAloneAndTheChainSaysSo) {
  ASSERT_TRUE(rotate(acme));
  auto revoked = revoke(*one, acme, active(acme).id);
  settle({one.get()});
  ASSERT_TRUE(revoked && *revoked);
  service = restart();
  const auto keys = published(acme);
  ASSERT_EQ(keys.size(), 3U);
  EXPECT_EQ(keys[0].succession->kind, Succession::Kind::compromise);
  EXPECT_TRUE(keys[0].succession->by_predecessor.empty());
  EXPECT_EQ(keys[1].succession->kind, Succession::Kind::rotation);
  EXPECT_EQ(keys[1].succession->by_predecessor.size(), 64U);
}

TEST_F(LifecycleTest, ARevokedEncryptionVersionDecryptsOnRequestOnly) {
  const auto sealed = encrypt(acme, "pii").value();
  auto revoked = revoke(*one, acme, active(acme, KeyType::encryption).id);
  settle({one.get()});
  ASSERT_TRUE(revoked && *revoked);
  service = restart();
  EXPECT_EQ(decrypt(acme, sealed).error().code, ErrorCode::permission_denied);
  EXPECT_EQ(decrypt(acme, sealed, {}, true), "pii");
  EXPECT_EQ(encrypt(acme, "pii")->at(4), 2);
}

TEST_F(LifecycleTest, RewrapMovesACiphertextWithItsContextToTheActiveVersion) {
  const EncryptionContext context{{"patient", "42"}};
  const auto old = encrypt(acme, "pii", context).value();
  ASSERT_TRUE(rotate(acme));
  const DecryptOptions options{.context = context};
  const ByteView ciphertexts[] = {old, as_bytes("junk")};
  const auto made = wait<std::vector<Result<Bytes>>>(
      [&](auto done) { service->rewrap(call, acme, ciphertexts, options, std::move(done)); });
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->at(0)->at(4), 2);
  EXPECT_EQ(decrypt(acme, *made->at(0), context), "pii");
  EXPECT_FALSE(decrypt(acme, *made->at(0)));
  EXPECT_EQ(made->at(1).error().code, ErrorCode::invalid_ciphertext);
}

TEST_F(LifecycleTest, AVersionIsDestroyedOnlyWhenNothingNeedsItOrItIsOldEnough) {
  ciphertext_age_max = std::chrono::days(365);
  const auto two = daemon("two");
  const auto sealed = encrypt(acme, "pii").value();
  const auto key = active(acme, KeyType::encryption);
  const auto destroy_key = [&](bool unused) {
    Answer<KeyRecord> answer;
    two->lifecycle.destroy_key(call, acme, {.key = key.id, .unused = unused}, answer.done());
    settle({one.get(), two.get()});
    return *answer;
  };
  EXPECT_EQ(destroy_key(true).error().code, ErrorCode::conflict) << "it is the active one";
  ASSERT_TRUE(rotate(acme));
  EXPECT_EQ(destroy_key(false).error().code, ErrorCode::conflict);
  EXPECT_EQ(decrypt(acme, sealed), "pii");
  clock.advance(std::chrono::days(366));
  const auto destroyed = destroy_key(false);
  ASSERT_TRUE(destroyed) << destroyed.error().message;
  EXPECT_EQ(destroyed->state, KeyState::destroyed);
  EXPECT_TRUE(destroyed->secret_destroyed_at);
  service = restart();
  EXPECT_EQ(decrypt(acme, sealed).error().code, ErrorCode::destroyed);
}

TEST_F(LifecycleTest, ARevokedSigningKeyThatIsDestroyedStaysUntrusted) {
  const auto signature = sign(acme, "x").value();
  auto revoked = revoke(*one, acme, signature.key_id);
  settle({one.get()});
  Answer<KeyRecord> destroyed;
  one->lifecycle.destroy_key(call, acme, {.key = signature.key_id}, destroyed.done());
  settle({one.get()});
  ASSERT_TRUE(destroyed && *destroyed);
  EXPECT_EQ((*destroyed)->state, KeyState::revoked);
  EXPECT_TRUE((*destroyed)->secret_destroyed_at);
  service = restart();
  EXPECT_FALSE(verify(acme, "x", signature.bytes)->trusted);
}

// --- destroying a tenant ------------------------------------------------------------------------

TEST_F(LifecycleTest, ADestroyedTenantLosesItsSecretsAndKeepsItsEvidence) {
  const auto signature = sign(acme, "evidence").value();
  const auto sealed = encrypt(acme, "pii").value();
  auto destroyed = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(destroyed && *destroyed) << (*destroyed).error().message;
  EXPECT_EQ((*destroyed)->signing_keys, 1U);
  EXPECT_EQ((*destroyed)->encryption_keys, 1U);
  EXPECT_FALSE((*destroyed)->pending);
  service = restart();
  EXPECT_EQ(decrypt(acme, sealed).error().code, ErrorCode::destroyed);
  EXPECT_EQ(encrypt(acme, "pii").error().code, ErrorCode::destroyed);
  EXPECT_EQ(sign(acme, "x").error().code, ErrorCode::destroyed);
  const auto verified = verify(acme, "evidence", signature.bytes);
  ASSERT_TRUE(verified);
  EXPECT_TRUE(verified->valid && verified->trusted);
  EXPECT_EQ(verified->key_state, KeyState::destroyed);
  const auto keys = store.list_keys(call, acme).value();
  for (const auto& key : keys) {
    EXPECT_TRUE(store.find_key(call, acme, key.type, key.version)->wrappings.empty());
  }
}

TEST_F(LifecycleTest, TheCertificateIsSignedByTheServiceKeyAndTellsOfTheProbe) {
  auto destroyed = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(destroyed && *destroyed);
  const auto envelope = boost::json::parse((*destroyed)->certificate).as_object();
  const auto payload = base64_decode(std::string_view(envelope.at("payload").as_string())).value();
  const auto signed_bytes = dsse_encode(destruction_type, payload);
  const auto& signature = envelope.at("signatures").as_array().at(0).as_object();
  const auto bytes = base64_decode(std::string_view(signature.at("sig").as_string())).value();
  const auto service_key = published(TenantId::service()).front();
  VerifyJob job{.public_key = service_key.bytes, .payload = signed_bytes, .signature = bytes};
  sodium_signer().verify({&job, 1});
  EXPECT_TRUE(job.valid);
  EXPECT_EQ(std::string_view(signature.at("keyid").as_string()), service_key.id.str());
  const auto statement = boost::json::parse(as_text(payload)).as_object();
  EXPECT_EQ(statement.at("tenantId").as_string(), "acme");
  EXPECT_EQ(statement.at("keys").as_array().size(), 2U);
  EXPECT_EQ(statement.at("probe").as_object().at("before").as_string(), "opened");
  EXPECT_TRUE(statement.at("probe").as_object().at("after").as_string().starts_with("failed: "));
  EXPECT_GE(statement.at("notCovered").as_array().size(), 3U);
}

TEST_F(LifecycleTest, ATenantIsNotDestroyedBeforeEveryDaemonHasDroppedItsKeys) {
  const auto two = daemon("two");
  auto destroyed = destroy(*one, acme);
  settle({one.get()});
  EXPECT_FALSE(destroyed);
  EXPECT_FALSE(store.find_key(call, acme, KeyType::signing, 1)->wrappings.empty());
  settle({two.get(), one.get()});
  EXPECT_TRUE(destroyed);
  EXPECT_TRUE(store.find_key(call, acme, KeyType::signing, 1)->wrappings.empty());
}

TEST_F(LifecycleTest, DestroyingAgainAnswersWhatHappened) {
  auto first = destroy(*one, acme);
  settle({one.get()});
  auto second = destroy(*one, acme);
  settle({one.get()});
  ASSERT_TRUE(first && *first && second && *second);
  EXPECT_EQ((*second)->certificate, (*first)->certificate);
  EXPECT_EQ((*second)->destroyed_at, (*first)->destroyed_at);
}

TEST_F(LifecycleTest, ADestructionThatACrashInterruptsGoesOnInAnotherDaemon) {
  for (const auto* crash_before : {"commit", "scrub"}) {
    const auto tenant = TenantId::parse(std::string("t-") + crash_before).value();
    create(tenant);
    auto dying = daemon(std::string("dying-") + crash_before);
    int commits = 0;
    store.before_each([&](std::string_view verb) -> Status {
      if (verb == "commit") ++commits;
      const bool dead = commits > 1 && verb == crash_before;
      return dead ? Status(fail(ErrorCode::store_unavailable, "killed")) : Status();
    });
    auto destroyed = destroy(*dying, tenant);
    settle({dying.get(), one.get()});
    store.before_each({});
    dying.reset();
    EXPECT_TRUE(store.find_tenant(call, tenant)->destroyed);
    EXPECT_EQ(sign(tenant, "x").error().code, ErrorCode::destroyed) << "closed from the beginning";
    clock.advance(lease + std::chrono::seconds(1));
    ASSERT_TRUE(one->membership.beat());
    ASSERT_TRUE(one->lifecycle.resume());
    settle({one.get()});
    EXPECT_TRUE(store.find_key(call, tenant, KeyType::encryption, 1)->wrappings.empty());
    const auto note = store.find_note(call, std::string(destroyed_prefix) + tenant.str());
    ASSERT_TRUE(note && *note);
    EXPECT_FALSE(to_destruction(parse_destruction_note(**note).value()).pending);
    EXPECT_FALSE(*store.find_note(call, std::string(destroying_prefix) + tenant.str()));
  }
}

TEST_F(LifecycleTest, ACertificateThatCannotBeSignedYetIsPendingAndComesLater) {
  auto cold = daemon("cold");
  one.reset();
  clock.advance(lease + std::chrono::seconds(1));
  ASSERT_TRUE(cold->membership.beat());
  provider.fail_always(ErrorCode::kms_unavailable);
  auto destroyed = destroy(*cold, acme);
  settle({cold.get()});
  ASSERT_TRUE(destroyed && *destroyed);
  EXPECT_TRUE((*destroyed)->pending);
  EXPECT_TRUE((*destroyed)->certificate.empty());
  EXPECT_TRUE(store.find_key(call, acme, KeyType::signing, 1)->wrappings.empty());
  provider.recover();
  ASSERT_TRUE(cold->lifecycle.resume());
  settle({cold.get()});
  auto again = destroy(*cold, acme);
  settle({cold.get()});
  EXPECT_FALSE((*again)->pending);
  EXPECT_FALSE((*again)->certificate.empty());
}

// --- succession ---------------------------------------------------------------------------------

TEST_F(LifecycleTest, AHundredRotationsVerifyOnlineAndByThePublishedKeysAlone) {
  std::vector<Signature> signatures{sign(acme, "evidence").value()};
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(rotate(acme));
    signatures.push_back(sign(acme, "evidence").value());
  }
  service = restart();
  const auto keys = published(acme);
  ASSERT_EQ(keys.size(), 101U);
  for (const auto& each : signatures) {
    EXPECT_TRUE(verify(acme, "evidence", each.bytes, each.key_id)->valid);
    const auto key = std::ranges::find(keys, each.key_id, &PublicKey::id);
    ASSERT_NE(key, keys.end());
    VerifyJob job{
        .public_key = key->bytes, .payload = as_bytes("evidence"), .signature = each.bytes};
    sodium_signer().verify({&job, 1});
    EXPECT_TRUE(job.valid);
  }
  // A reader who trusts the first key can trust the last: each envelope is signed by the key
  // before.
  for (std::size_t i = 0; i + 1 < keys.size(); ++i) {
    const auto envelope = boost::json::parse(keys[i].succession_envelope).as_object();
    const auto payload =
        base64_decode(std::string_view(envelope.at("payload").as_string())).value();
    const auto bytes = dsse_encode(succession_type, payload);
    bool vouched = false;
    for (const auto& each : envelope.at("signatures").as_array()) {
      const auto& object = each.as_object();
      if (std::string_view(object.at("keyid").as_string()) != keys[i + 1].id.str()) continue;
      const auto signature = base64_decode(std::string_view(object.at("sig").as_string())).value();
      VerifyJob job{.public_key = keys[i + 1].bytes, .payload = bytes, .signature = signature};
      sodium_signer().verify({&job, 1});
      vouched = job.valid;
    }
    EXPECT_TRUE(vouched) << "version " << keys[i].version;
  }
}

TEST_F(LifecycleTest, ASuccessorForgedWithoutTheOldKeyIsRefused) {
  ASSERT_TRUE(rotate(acme));
  const auto next = active(acme);
  ASSERT_TRUE(store.edit_key(
      next.id, [](KeyRecord& row) { row.succession->by_predecessor.assign(64, 0x41); }));
  service = restart();
  EXPECT_EQ(verify(acme, "x", Bytes(64, 1)).error().code, ErrorCode::corrupt);
  EXPECT_FALSE(wait<std::vector<PublicKey>>(
      [&](auto done) { service->public_keys(call, acme, std::move(done)); }));
}

}  // namespace
}  // namespace betrace::kms
