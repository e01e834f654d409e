#include <set>

#include "core/succession.h"
#include "support/service_fixture.h"

namespace betrace::kms {
namespace {

using KeyServiceTest = ServiceFixture;

TEST_F(KeyServiceTest, CreatesATenantOnceWithBothKeys) {
  const auto first = create(acme);
  EXPECT_TRUE(first.created);
  ASSERT_EQ(first.keys.size(), 2U);
  EXPECT_EQ(first.keys[0].type, KeyType::signing);
  EXPECT_EQ(first.keys[0].public_key.size(), 32U);
  EXPECT_TRUE(first.keys[0].wrappings.empty());
  const auto again = create(acme);
  EXPECT_FALSE(again.created);
  EXPECT_EQ(again.keys[0].id, first.keys[0].id);
}

TEST_F(KeyServiceTest, SignsAndVerifies) {
  const auto made = create(acme);
  const auto signature = sign(acme, "evidence");
  ASSERT_TRUE(signature) << signature.error().message;
  EXPECT_EQ(signature->key_id, made.keys[0].id);
  EXPECT_TRUE(verify(acme, "evidence", signature->bytes)->valid);
  EXPECT_FALSE(verify(acme, "evidence!", signature->bytes)->valid);
  create(other);
  EXPECT_FALSE(verify(other, "evidence", signature->bytes)->valid);
}

TEST_F(KeyServiceTest, AnUnknownTenantIsNotFoundAndCallsNoProvider) {
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(sign(TenantId::parse("nobody" + std::to_string(i)).value(), "x").error().code,
              ErrorCode::tenant_not_found);
  }
  EXPECT_EQ(provider.calls(), 0);
}

TEST_F(KeyServiceTest, UnwrapsAKeyOnceAndServesItFromTheCache) {
  create(acme);
  const int before = provider.decrypted();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(sign(acme, "x"));
  EXPECT_EQ(provider.decrypted(), before + 1);
  const auto report = service->cache_report();
  EXPECT_EQ(report.private_keys.hits, 99U);
  EXPECT_EQ(report.private_keys.misses, 1U);
}

TEST_F(KeyServiceTest, UsesTheSameKeysAfterARestart) {
  create(acme);
  const auto signature = sign(acme, "x");
  const auto sealed = encrypt(acme, "pii");
  service = restart();
  EXPECT_EQ(sign(acme, "x")->bytes, signature->bytes);
  EXPECT_EQ(decrypt(acme, *sealed), "pii");
}

TEST_F(KeyServiceTest, EncryptsUnderTheKeyThatTheProviderMadeNotUnderZeros) {
  create(acme);
  const auto sealed = encrypt(acme, "pii");
  ASSERT_TRUE(sealed);
  const EncryptionKey zero{.version = 1, .secret = SecretBytes(32)};
  EXPECT_FALSE(unseal(zero, additional_data(acme, 1, {}), *sealed));
}

TEST_F(KeyServiceTest, DecryptsOnlyForTheSameTenantAndContext) {
  create(acme);
  create(other);
  const EncryptionContext context{{"patient", "42"}, {"field", "name"}};
  const auto sealed = encrypt(acme, "Ada", context);
  ASSERT_TRUE(sealed);
  EXPECT_EQ(decrypt(acme, *sealed, context), "Ada");
  const EncryptionContext wrong[] = {{},
                                     {{"patient", "42"}},
                                     {{"patient", "43"}, {"field", "name"}},
                                     {{"patient", "42"}, {"field", "name"}, {"more", ""}},
                                     {{"patien", "t42"}, {"field", "name"}}};
  for (const auto& each : wrong) {
    const auto opened = decrypt(acme, *sealed, each);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::invalid_ciphertext);
    EXPECT_EQ(opened.error().message,
              "The encryption context provided does not match the encryption context used to "
              "generate the data key or the ciphertext was altered");
  }
  EXPECT_EQ(decrypt(other, *sealed, context).error().code, ErrorCode::invalid_ciphertext);
}

TEST_F(KeyServiceTest, RefusesACiphertextThatWasCutOrChangedAnywhere) {
  create(acme);
  const auto sealed = encrypt(acme, "secret").value();
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto flipped = sealed;
    flipped[i] ^= 0x01;
    EXPECT_FALSE(decrypt(acme, flipped)) << i;
    EXPECT_FALSE(decrypt(acme, ByteView(sealed).first(i))) << i;
  }
}

TEST_F(KeyServiceTest, NeverUsesANonceTwice) {
  create(acme);
  std::set<Bytes> nonces;
  for (int i = 0; i < 5000; ++i) {
    const auto sealed = encrypt(acme, "x").value();
    nonces.insert(Bytes(sealed.begin() + 5, sealed.begin() + 17));
  }
  EXPECT_EQ(nonces.size(), 5000U);
}

TEST_F(KeyServiceTest, ADataKeyOpensUnderItsContextAlone) {
  create(acme);
  const EncryptionContext context{{"file", "scan.dcm"}};
  const auto made = wait<SealedDataKey>(
      [&](auto done) { service->data_key(call, acme, context, std::move(done)); });
  ASSERT_TRUE(made);
  EXPECT_EQ(made->plaintext.size(), 32U);
  EXPECT_EQ(decrypt(acme, made->ciphertext, context),
            std::string(as_text(made->plaintext.expose())));
  EXPECT_FALSE(decrypt(acme, made->ciphertext));
}

TEST_F(KeyServiceTest, BoundsTheContext) {
  create(acme);
  EncryptionContext many;
  for (int i = 0; i < 65; ++i) many["k" + std::to_string(i)] = "v";
  EXPECT_EQ(encrypt(acme, "x", many).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(encrypt(acme, "x", {{"k", std::string(8192, 'v')}}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(encrypt(acme, "x", {{"k", "\xff"}}).error().code, ErrorCode::invalid_argument);
  many.erase("k0");
  EXPECT_TRUE(encrypt(acme, "x", many));
}

TEST_F(KeyServiceTest, RotationAddsAVersionAndLosesNothing) {
  create(acme);
  std::vector<Result<Signature>> signatures;
  std::vector<Bytes> sealed;
  for (int version = 1; version <= 5; ++version) {
    signatures.push_back(sign(acme, "evidence"));
    sealed.push_back(encrypt(acme, "pii").value());
    EXPECT_EQ(signatures.back()->version, version);
    const auto rotated = rotate(acme);
    ASSERT_TRUE(rotated) << rotated.error().message;
    EXPECT_EQ(rotated->at(0).version, version + 1);
  }
  for (const bool cold : {false, true}) {
    if (cold) service = restart();
    for (const auto& signature : signatures) {
      const auto verified = verify(acme, "evidence", signature->bytes);
      ASSERT_TRUE(verified && verified->valid);
      EXPECT_EQ(verified->version, signature->version);
      EXPECT_EQ(verified->key_state, KeyState::rotated);
      EXPECT_TRUE(verify(acme, "evidence", signature->bytes, signature->key_id)->valid);
      EXPECT_TRUE(verify(acme, "evidence", signature->bytes, {}, signature->version)->valid);
    }
    for (const auto& each : sealed) EXPECT_EQ(decrypt(acme, each), "pii");
  }
  EXPECT_EQ(sign(acme, "x")->version, 6U);
}

TEST_F(KeyServiceTest, VerifyTriesTheTenNewestVersionsUnlessOneIsNamed) {
  create(acme);
  const auto oldest = sign(acme, "evidence").value();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(rotate(acme));
  EXPECT_FALSE(verify(acme, "evidence", oldest.bytes)->valid);
  EXPECT_TRUE(verify(acme, "evidence", oldest.bytes, oldest.key_id)->valid);
  EXPECT_EQ(verify(acme, "evidence", oldest.bytes, {}, 99).error().code, ErrorCode::key_not_found);
}

TEST_F(KeyServiceTest, RefusesToSignItsOwnAssertions) {
  create(acme);
  const auto forged =
      dsse_encode("application/vnd.betrace.compliance-span.v1+json", as_bytes("{}"));
  EXPECT_EQ(sign(acme, as_text(forged)).error().code, ErrorCode::reserved_payload);
  const auto foreign = dsse_encode("application/vnd.in-toto+json", as_bytes("{}"));
  EXPECT_TRUE(sign(acme, as_text(foreign)));
}

TEST_F(KeyServiceTest, NoticesAPublicKeyThatWasSwappedInTheStoreWithoutTheProvider) {
  const auto made = create(acme);
  const auto signature = sign(acme, "evidence").value();
  ASSERT_TRUE(verify(acme, "evidence", signature.bytes)->valid);
  ASSERT_TRUE(service->follow_changes());
  const auto attacker = ed25519_key_from_seed(SecretBytes::random(32));
  const auto half = ed25519_public_half(attacker);
  ASSERT_TRUE(store.edit_key(
      made.keys[0].id, [&](KeyRecord& key) { key.public_key.assign(half.begin(), half.end()); }));
  provider.fail_always(ErrorCode::kms_unavailable);
  const int calls = provider.calls();
  ASSERT_TRUE(service->follow_changes());
  const auto verified = verify(acme, "evidence", signature.bytes);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code, ErrorCode::corrupt);
  const auto published = wait<std::vector<PublicKey>>(
      [&](auto done) { service->public_keys(call, acme, std::move(done)); });
  EXPECT_EQ(published.error().code, ErrorCode::corrupt);
  EXPECT_EQ(provider.calls(), calls);
  // Nor is it signed under.
  provider.recover();
  EXPECT_EQ(sign(acme, "evidence").error().code, ErrorCode::corrupt);
}

TEST_F(KeyServiceTest, ACorruptRowStopsNoOtherAndCountsAsNoFailureOfTheProvider) {
  CircuitBreaker breaker("kms-signing-key", {}, clock, [](const auto&, auto) {});
  GuardedProvider guarded(provider, breaker, {}, clock, metrics);
  opener = KeyOpener{{&guarded, &guarded}};
  for (int i = 0; i < 20; ++i) {
    const auto tenant = TenantId::parse("t" + std::to_string(i)).value();
    const auto made = create(tenant);
    ASSERT_TRUE(
        store.edit_key(made.keys[0].id, [](KeyRecord& key) { key.wrappings[0].blob[20] ^= 1; }));
    EXPECT_EQ(sign(tenant, "x").error().code, ErrorCode::corrupt);
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  create(acme);
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(KeyServiceTest, SaysWhenAnotherProviderHoldsTheKey) {
  create(acme);
  FakeProvider elsewhere("elsewhere");
  opener = KeyOpener{{&elsewhere, &elsewhere}};
  service = restart();
  const auto refused = sign(acme, "x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::wrapped_elsewhere);
  EXPECT_EQ(elsewhere.calls(), 0);
  opener = KeyOpener{{&elsewhere, &elsewhere}, {{&provider, &provider}}};
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(KeyServiceTest, WarmTenantsOutliveAnOutageOfTheProvider) {
  create(acme);
  ASSERT_TRUE(sign(acme, "x"));
  const auto sealed = encrypt(acme, "pii");
  create(other);
  provider.fail_always(ErrorCode::kms_unavailable);
  EXPECT_TRUE(sign(acme, "x"));
  EXPECT_EQ(decrypt(acme, *sealed), "pii");
  EXPECT_EQ(sign(other, "x").error().code, ErrorCode::kms_unavailable);
  provider.recover();
  EXPECT_TRUE(sign(other, "x"));
}

TEST_F(KeyServiceTest, AFullQueueIsSaidAndNothingHangs) {
  create(acme);
  store_threads.full = provider_threads.full = true;
  EXPECT_EQ(sign(acme, "x").error().code, ErrorCode::overloaded);
  EXPECT_EQ(rotate(acme).error().code, ErrorCode::overloaded);
  store_threads.full = provider_threads.full = false;
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(KeyServiceTest, TheNonceBudgetRotatesAtThreeQuartersAndRefusesAtTheEnd) {
  service = restart({.nonces = {.total = 40, .block = 10}});
  create(acme);
  std::set<std::uint8_t> versions;
  for (int i = 0; i < 25; ++i) {
    const auto sealed = encrypt(acme, "x");
    ASSERT_TRUE(sealed) << sealed.error().message;
    versions.insert(sealed->at(4));
  }
  EXPECT_TRUE(versions.contains(2)) << "the third block passes three quarters";
  // A provider that is away cannot rotate: then the budget ends, and says so.
  provider.fail_always(ErrorCode::kms_access_denied);
  Result<Bytes> last;
  for (int i = 0; i < 100 && last; ++i) last = encrypt(acme, "x");
  ASSERT_FALSE(last);
  EXPECT_EQ(last.error().code, ErrorCode::overloaded);
  EXPECT_NE(last.error().message.find("rotate"), std::string::npos);
}

TEST_F(KeyServiceTest, ASmallCacheDoesNotWasteTheNonceBudget) {
  service = restart({.encryption_keys = {.max_size = 1}, .nonces = {.total = 100, .block = 10}});
  create(acme);
  create(other);
  // 20 loads each: with a block a load, 100 would be gone after 10.
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(encrypt(acme, "x"));
    EXPECT_TRUE(encrypt(other, "x"));
  }
}

TEST_F(KeyServiceTest, TheServiceKeyIsMadeOnceAndPublished) {
  create(acme);
  create(other);
  const auto keys = wait<std::vector<PublicKey>>(
      [&](auto done) { service->public_keys(call, TenantId::service(), std::move(done)); });
  ASSERT_TRUE(keys) << keys.error().message;
  ASSERT_EQ(keys->size(), 1U);
  const auto tenants = wait<std::vector<PublicKey>>(
      [&](auto done) { service->public_keys(call, acme, std::move(done)); });
  KeyRecord record{.id = tenants->at(0).id,
                   .tenant = acme,
                   .type = KeyType::signing,
                   .version = 1,
                   .created_at = tenants->at(0).created_at};
  record.public_key.assign(tenants->at(0).bytes.begin(), tenants->at(0).bytes.end());
  record.attestation = tenants->at(0).attestation;
  EXPECT_TRUE(is_attested(keys->at(0).bytes, record));
  record.tenant = other;
  EXPECT_FALSE(is_attested(keys->at(0).bytes, record));
}

TEST_F(KeyServiceTest, BatchesAnswerInOrderAndOneBadItemDoesNotSinkTheRest) {
  create(acme);
  const auto reserved = dsse_encode("application/vnd.betrace.x", {});
  const ByteView payloads[] = {as_bytes("a"), reserved, as_bytes("c")};
  const auto signatures = wait<std::vector<Result<Signature>>>(
      [&](auto done) { service->sign(call, acme, payloads, std::move(done)); });
  ASSERT_EQ(signatures->size(), 3U);
  EXPECT_TRUE(verify(acme, "a", signatures->at(0)->bytes)->valid);
  EXPECT_EQ(signatures->at(1).error().code, ErrorCode::reserved_payload);
  EXPECT_TRUE(verify(acme, "c", signatures->at(2)->bytes)->valid);

  const auto old = encrypt(acme, "one").value();
  ASSERT_TRUE(rotate(acme));
  const auto fresh = encrypt(acme, "two").value();
  auto unknown_version = fresh;
  unknown_version[4] = 99;
  const ByteView ciphertexts[] = {fresh, as_bytes("junk"), unknown_version, old};
  const EncryptionContext no_context;
  const DecryptOptions options{.context = no_context};
  const auto opened = wait<std::vector<Result<WipedBytes>>>(
      [&](auto done) { service->decrypt(call, acme, ciphertexts, options, std::move(done)); });
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(as_text(*opened->at(0)), "two");
  EXPECT_EQ(opened->at(1).error().code, ErrorCode::invalid_ciphertext);
  EXPECT_EQ(opened->at(2).error().code, ErrorCode::key_not_found);
  EXPECT_EQ(as_text(*opened->at(3)), "one");
}

TEST_F(KeyServiceTest, FollowsWhatAnotherDaemonChanged) {
  create(acme);
  ASSERT_TRUE(sign(acme, "x"));
  ASSERT_TRUE(service->follow_changes());
  const auto second_daemon = restart();
  ASSERT_TRUE(wait<std::vector<KeyRecord>>(
      [&](auto done) { second_daemon->rotate(call, acme, std::move(done)); }));
  ASSERT_TRUE(service->follow_changes());
  EXPECT_EQ(sign(acme, "x")->version, 2U);
}

TEST_F(KeyServiceTest, WarmsTheTenantsThatWereActive) {
  create(acme);
  create(other);
  clock.advance(std::chrono::minutes(1));
  ASSERT_TRUE(sign(acme, "x"));
  ASSERT_TRUE(service->write_activity());
  service = restart();
  EXPECT_EQ(service->warm(100), 1U);
  provider.fail_always(ErrorCode::kms_unavailable);
  EXPECT_TRUE(sign(acme, "x"));
}

TEST_F(KeyServiceTest, MetricsTellTheOldestActiveKey) {
  EXPECT_EQ(metrics.render(false).find("kms_last_rotation_timestamp_seconds"), std::string::npos);
  create(acme);
  EXPECT_NE(metrics.render(false).find("kms_last_rotation_timestamp_seconds 1763856000"),
            std::string::npos);
  clock.advance(std::chrono::hours(24));
  create(other);
  ASSERT_TRUE(rotate(acme));
  EXPECT_NE(metrics.render(false).find("kms_last_rotation_timestamp_seconds 1763942400"),
            std::string::npos);
}

TEST_F(KeyServiceTest, AFailedCreationLeavesNoTenant) {
  provider.fail_next(ErrorCode::kms_access_denied);
  const auto refused = wait<TenantDescription>(
      [&](auto done) { service->create_tenant(call, acme, std::move(done)); });
  EXPECT_EQ(refused.error().code, ErrorCode::kms_access_denied);
  EXPECT_EQ(sign(acme, "x").error().code, ErrorCode::tenant_not_found);
  EXPECT_TRUE(create(acme).created);
}

}  // namespace
}  // namespace betrace::kms
