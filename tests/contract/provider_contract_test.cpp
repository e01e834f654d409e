// What every provider of the catalogue promises, whichever it is.
#include <algorithm>
#include <cstdlib>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "contract/provider_fixture.h"
#include "providers/catalog.h"
#include "support/fake_clock.h"
#include "support/http_fake_kms.h"

namespace betrace::kms {
namespace {

const EncryptionContext context{{"keyType", "encryption"}, {"tenantId", "abc-123"}};

CallContext call() { return CallContext::system("test"); }

Bytes bytes_of(const SecretBytes& secret) {
  return {secret.expose().begin(), secret.expose().end()};
}

TEST(ProviderCatalogue, EveryProviderHasAFixtureInThisSuite) {
  const auto names = provider_names();
  EXPECT_GE(names.size(), 6u);
  for (const auto& name : names) EXPECT_TRUE(provider_fixtures().contains(name)) << name;
  for (const auto& [name, fixture] : provider_fixtures()) {
    EXPECT_TRUE(std::ranges::find(names, name) != names.end()) << name;
  }
}

class ProviderContract : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto found = provider_fixtures().find(GetParam());
    ASSERT_NE(found, provider_fixtures().end()) << GetParam() << " has no fixture";
    fixture_ = found->second();
  }
  Provider& provider() { return fixture_->provider(); }
  DataKey data_key(const EncryptionContext& under = context) {
    auto key = provider().generate_data_key(call(), under);
    if (!key) throw std::runtime_error(key.error().message);
    return *std::move(key);
  }
  ErrorCode refused(const Wrapping& wrapping, const EncryptionContext& under) {
    const auto opened = provider().decrypt(call(), wrapping, under);
    return opened ? ErrorCode::internal : opened.error().code;
  }

  std::unique_ptr<ProviderFixture> fixture_;
};

INSTANTIATE_TEST_SUITE_P(Catalogue, ProviderContract, ::testing::ValuesIn(provider_names()),
                         [](const auto& info) { return info.param; });

TEST_P(ProviderContract, NamesItselfAsTheCatalogueDoes) {
  EXPECT_EQ(provider().name(), GetParam());
  EXPECT_FALSE(provider().description().empty());
}

TEST_P(ProviderContract, ADataKeyOpensAgainUnderItsContext) {
  const DataKey key = data_key();
  EXPECT_EQ(key.plaintext.size(), 32u);
  EXPECT_EQ(key.wrapped.provider, GetParam());
  EXPECT_FALSE(key.wrapped.master_key_id.empty());
  const auto opened = provider().decrypt(call(), key.wrapped, context);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(*opened == key.plaintext);
}

TEST_P(ProviderContract, NoTwoDataKeysAreEqual) {
  const DataKey one = data_key(), two = data_key();
  EXPECT_FALSE(one.plaintext == two.plaintext);
  EXPECT_NE(one.wrapped.blob, two.wrapped.blob);
}

TEST_P(ProviderContract, WrapsOneTo4096BytesAndNoOthers) {
  for (const std::size_t size : {1u, 31u, 32u, 33u, 4096u}) {
    const SecretBytes secret = SecretBytes::random(size);
    const auto wrapped = provider().encrypt(call(), secret.expose(), context);
    ASSERT_TRUE(wrapped) << size << wrapped.error().message;
    const auto opened = provider().decrypt(call(), *wrapped, context);
    ASSERT_TRUE(opened) << size << opened.error().message;
    EXPECT_TRUE(*opened == secret) << size;
  }
  for (const std::size_t size : {0u, 4097u}) {
    const auto wrapped = provider().encrypt(call(), Bytes(size), context);
    ASSERT_FALSE(wrapped) << size;
    EXPECT_EQ(wrapped.error().code, ErrorCode::invalid_argument) << size;
  }
}

TEST_P(ProviderContract, WrappingTheSameTwiceGivesDifferentBlobs) {
  const Bytes secret(32, 7);
  EXPECT_NE(provider().encrypt(call(), secret, context)->blob,
            provider().encrypt(call(), secret, context)->blob);
}

TEST_P(ProviderContract, AnyOtherContextIsRefusedWithTheSentenceUsersGrep) {
  const Wrapping wrapped = data_key({{"a", "bc"}, {"tenantId", "T"}}).wrapped;
  const std::vector<EncryptionContext> others{
      {},
      {{"a", "bc"}},
      {{"tenantId", "T"}},
      {{"a", "bc"}, {"tenantId", "U"}},
      {{"a", "bc"}, {"tenant_id", "T"}},
      {{"ab", "c"}, {"tenantId", "T"}},
      {{"a", "b"}, {"tenantId", "cT"}},
      {{"a", "T"}, {"tenantId", "bc"}},
      {{"a", "bc"}, {"b", ""}, {"tenantId", "T"}},
      {{"a", "bc"}, {"tenantId", "t"}},
      {{"a", "bc"}, {"tenantId", "T "}},
      {{"a", "bc,tenantId=T"}},
      {{"a", "bc\",\"tenantId\":\"T"}},
  };
  for (const auto& other : others) {
    const auto opened = provider().decrypt(call(), wrapped, other);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::invalid_ciphertext);
    EXPECT_NE(opened.error().message.find(context_mismatch_message), std::string::npos)
        << opened.error().message;
  }
}

TEST_P(ProviderContract, TheOrderInWhichAContextWasBuiltDoesNotMatter) {
  EncryptionContext forwards, backwards;
  for (char c = 'a'; c <= 'z'; ++c) forwards[std::string(1, c)] = "v";
  for (char c = 'z'; c >= 'a'; --c) backwards[std::string(1, c)] = "v";
  EXPECT_TRUE(provider().decrypt(call(), data_key(forwards).wrapped, backwards));
}

TEST_P(ProviderContract, ContextsOfAnyUnicodeOpenAndAreNotNormalised) {
  const std::vector<EncryptionContext> contexts{
      {{"tenantId", "Zo\u00eb"}},     {{"tenantId", "Zoe\u0308"}},     {{"\u20ac", "\U0001F511"}},
      {{"tenantId", "a\"b\\c/d"}},    {{"tenantId", "line\nbreak\t"}}, {{"tenantId", "\x01\x7f"}},
      {{"tenantId", "\u2028\ufeff"}},
  };
  for (const auto& one : contexts) {
    const Wrapping wrapped = data_key(one).wrapped;
    for (const auto& other : contexts) {
      EXPECT_EQ(provider().decrypt(call(), wrapped, other).has_value(), &one == &other)
          << one.begin()->second << " and " << other.begin()->second;
    }
  }
}

TEST_P(ProviderContract, AContextOfTenKilobytesIsBoundToItsLastByte) {
  const auto with = [](std::size_t size, char last) {
    return EncryptionContext{{"note", std::string(size - 1, 'x') + last}, {"tenantId", "T"}};
  };
  const Wrapping wrapped = data_key(with(10'240, 'a')).wrapped;
  EXPECT_TRUE(provider().decrypt(call(), wrapped, with(10'240, 'a')));
  EXPECT_EQ(refused(wrapped, with(10'240, 'b')), ErrorCode::invalid_ciphertext);
  EXPECT_EQ(refused(wrapped, with(10'241, 'a')), ErrorCode::invalid_ciphertext);
  EXPECT_EQ(refused(wrapped, with(8'192, 'x')), ErrorCode::invalid_ciphertext);
}

TEST_P(ProviderContract, AContextThatIsNotUtf8IsRefused) {
  for (const EncryptionContext& bad :
       {EncryptionContext{{"tenantId", "\xff"}}, EncryptionContext{{"\xc3", "x"}},
        EncryptionContext{{"tenantId", "\xed\xa0\x80"}}}) {
    const auto key = provider().generate_data_key(call(), bad);
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(provider().encrypt(call(), Bytes(32), bad).error().code, ErrorCode::invalid_argument);
  }
}

TEST_P(ProviderContract, ABlobChangedInAnyBitOrCutAnywhereIsRefused) {
  const DataKey key = data_key();
  const auto acceptable = [](ErrorCode code) {
    return code == ErrorCode::invalid_ciphertext || code == ErrorCode::wrapped_elsewhere;
  };
  for (std::size_t i = 0; i < key.wrapped.blob.size(); ++i) {
    for (const int bit : {0, 3, 7}) {
      Wrapping changed = key.wrapped;
      changed.blob[i] ^= static_cast<std::uint8_t>(1 << bit);
      EXPECT_TRUE(acceptable(refused(changed, context))) << "byte " << i << " bit " << bit;
    }
    Wrapping cut = key.wrapped;
    cut.blob.resize(i);
    EXPECT_TRUE(acceptable(refused(cut, context))) << "cut at " << i;
  }
  Wrapping longer = key.wrapped;
  longer.blob.push_back(0);
  EXPECT_TRUE(acceptable(refused(longer, context)));
}

TEST_P(ProviderContract, WhatItWrappedBeforeARestartOpensAfterIt) {
  const DataKey key = data_key();
  const auto opened = fixture_->reopened()->decrypt(call(), key.wrapped, context);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(*opened == key.plaintext);
}

TEST_P(ProviderContract, ABlobOfAnotherProviderIsWrappedElsewhere) {
  Wrapping foreign = data_key().wrapped;
  foreign.provider = "somebody-else";
  EXPECT_EQ(refused(foreign, context), ErrorCode::wrapped_elsewhere);
}

TEST_P(ProviderContract, ABlobUnderTheNameOfAnotherMasterKeyIsWrappedElsewhere) {
  const auto other = fixture_->under_another_master_key();
  const auto theirs = other->generate_data_key(call(), context);
  ASSERT_TRUE(theirs);
  Wrapping passed_off = theirs->wrapped;
  passed_off.master_key_id = data_key().wrapped.master_key_id;
  EXPECT_EQ(refused(passed_off, context), ErrorCode::wrapped_elsewhere);
}

TEST_P(ProviderContract, DescribesAUsableMasterKeyByTheIdThatWrappingsRecord) {
  const auto info = provider().describe_key(call());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_TRUE(info->usable);
  EXPECT_EQ(info->state, "Enabled");
  EXPECT_EQ(info->key_id, data_key().wrapped.master_key_id);
  EXPECT_FALSE(info->deletion_at);
}

TEST_P(ProviderContract, SixtyFourThreadsEachGetTheirOwnKeysBack) {
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 64; ++i) {
      threads.emplace_back([this, i, &good] {
        const EncryptionContext mine{{"tenantId", std::to_string(i)}};
        for (int round = 0; round < 8; ++round) {
          const auto key = provider().generate_data_key(call(), mine);
          if (!key) return;
          const auto opened = provider().decrypt(call(), key->wrapped, mine);
          if (opened && *opened == key->plaintext && provider().describe_key(call())) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 64 * 8);
}

// In torture a hundred thousand.
TEST_P(ProviderContract, OfTenThousandRandomContextSwapsNoneIsAccepted) {
  const int enough = std::getenv("BETRACE_TORTURE") != nullptr ? 100'000 : 10'000;
  std::mt19937 random(20261123);
  const auto word = [&] {
    std::string text;
    const std::size_t size = random() % 4;
    while (text.size() < size) text.push_back("ab\":,{}\\="[random() % 9]);
    return text;
  };
  const auto random_context = [&] {
    EncryptionContext made;
    const std::size_t size = random() % 4;
    for (std::size_t i = 0; i < size; ++i) made[word()] = word();
    return made;
  };
  int swaps = 0;
  while (swaps < enough) {
    const EncryptionContext one = random_context(), two = random_context();
    if (one == two) continue;
    ++swaps;
    EXPECT_EQ(refused(data_key(one).wrapped, two), ErrorCode::invalid_ciphertext);
  }
}

struct Expectation {
  Mishap trouble;
  ErrorCode generate, encrypt, decrypt;
};

TEST_P(ProviderContract, EachTroubleHasItsCodeAndNoErrorTellsASecret) {
  using enum ErrorCode;
  const std::vector<Expectation> expected{
      {Mishap::access_denied, kms_access_denied, kms_access_denied, kms_access_denied},
      {Mishap::key_disabled, kms_key_disabled, kms_key_disabled, kms_key_disabled},
      {Mishap::key_pending_deletion, kms_key_disabled, kms_key_disabled, kms_key_disabled},
      {Mishap::key_gone, kms_key_disabled, kms_key_disabled, kms_key_disabled},
      {Mishap::throttled, kms_unavailable, kms_unavailable, kms_unavailable},
      {Mishap::server_error, kms_unavailable, kms_unavailable, kms_unavailable},
      {Mishap::unavailable, kms_unavailable, kms_unavailable, kms_unavailable},
      {Mishap::connection_refused, kms_unavailable, kms_unavailable, kms_unavailable},
      {Mishap::no_answer, kms_timeout, kms_timeout, kms_timeout},
      {Mishap::not_json, kms_unavailable, kms_unavailable, kms_unavailable},
      {Mishap::half_answer, kms_unavailable, kms_unavailable, kms_unavailable},
      {Mishap::short_secret, kms_unavailable, {}, {}},
  };
  for (const auto& [trouble, generate, encrypt, decrypt] : expected) {
    SetUp();
    const DataKey key = data_key();
    if (!fixture_->cause(trouble)) continue;
    SCOPED_TRACE(static_cast<int>(trouble));
    const auto secret = bytes_of(key.plaintext);
    const auto check = [&](ErrorCode code, const auto& result) {
      if (code == ErrorCode{}) return;
      ASSERT_FALSE(result);
      const Error& error = result.error();
      EXPECT_EQ(to_string(error.code), to_string(code)) << error.message;
      EXPECT_FALSE(error.message.empty());
      for (const auto& shape : {base64_encode(secret), hex_encode(secret)}) {
        EXPECT_EQ(error.message.find(shape), std::string::npos);
        EXPECT_EQ(error.type.find(shape), std::string::npos);
      }
      EXPECT_EQ(error.throttled, trouble == Mishap::throttled);
      if (error.throttled) {
        EXPECT_EQ(error.retry_after, std::chrono::seconds(2));
      }
    };
    check(generate, provider().generate_data_key(call(), context));
    check(encrypt, provider().encrypt(call(), secret, context));
    check(decrypt, provider().decrypt(call(), key.wrapped, context));
  }
}

TEST_P(ProviderContract, AnAnswerThatIsNoneIsAnOutageWhateverItsShape) {
  const Wrapping wrapped = data_key().wrapped;
  const std::vector<std::string> bodies{
      "",
      "null",
      "[]",
      "7",
      "\"x\"",
      "{",
      "<html><body>Login</body></html>",
      std::string(20, '\0'),
      "\xff\xfe\x00\x80{",
      std::string(60'000, '['),
      std::string(60'000, '{'),
      std::string(1 << 20, ' '),
      std::string(10 << 20, 'x'),
      R"({"Plaintext":7,"CiphertextBlob":[],"KeyId":{},"KeyMetadata":null})",
      R"({"data":[],"value":{},"plaintext":true,"ciphertext":-1})",
      R"({"kid":0,"key":[],"name":{},"primary":[]})",
      R"({"data":{"plaintext":{},"ciphertext":0,"keys":"x","latest_version":"y"}} trailing)",
  };
  for (const auto& body : bodies) {
    SCOPED_TRACE(body.substr(0, 40) + " of " + std::to_string(body.size()));
    SetUp();
    data_key();  // logged in: what is odd is the master key's service, not who lets us in
    if (!fixture_->answer(200, body)) return;
    const auto check = [](const auto& result) {
      ASSERT_FALSE(result);
      EXPECT_EQ(to_string(result.error().code), to_string(ErrorCode::kms_unavailable))
          << result.error().message;
      EXPECT_LT(result.error().message.size(), 1000u);
    };
    check(provider().generate_data_key(call(), context));
    check(provider().encrypt(call(), Bytes(32), context));
    check(provider().describe_key(call()));
    // A blob is read before anybody is asked.
    check(provider().decrypt(call(), wrapped, context));
  }
}

TEST_P(ProviderContract, AStatusThatNobodyExpectsIsAnError) {
  const Wrapping wrapped = data_key().wrapped;
  for (const int status : {100, 201, 204, 302, 400, 401, 404, 409, 418, 451, 499, 505, 599, 999}) {
    for (const std::string body : {"", "{}", "\xff", R"({"errors":[7],"error":[],"__type":{}})"}) {
      SCOPED_TRACE(std::to_string(status) + " " + body);
      SetUp();
      if (!fixture_->answer(status, body)) return;
      EXPECT_FALSE(provider().generate_data_key(call(), context));
      EXPECT_FALSE(provider().encrypt(call(), Bytes(32), context));
      EXPECT_FALSE(provider().decrypt(call(), wrapped, context));
      EXPECT_FALSE(provider().describe_key(call()));
    }
  }
}

TEST_P(ProviderContract, AfterTheDeadlineNobodyIsAsked) {
  if (!provider().remote()) return;
  const Wrapping wrapped = data_key().wrapped;
  CallContext late = call();
  late.deadline = {};
  EXPECT_EQ(provider().generate_data_key(late, context).error().code, ErrorCode::kms_timeout);
  EXPECT_EQ(provider().encrypt(late, Bytes(32), context).error().code, ErrorCode::kms_timeout);
  EXPECT_EQ(provider().decrypt(late, wrapped, context).error().code, ErrorCode::kms_timeout);
  EXPECT_EQ(provider().describe_key(late).error().code, ErrorCode::kms_timeout);
}

}  // namespace
}  // namespace betrace::kms
