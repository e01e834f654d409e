#include "providers/gcp.h"

#include <gtest/gtest.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "providers/gcp_errors.h"
#include "unit/providers/gcp_world.h"

namespace betrace::kms {
namespace {

const CallContext call = CallContext::system("test");
const EncryptionContext context{{"keyType", "signing"}, {"tenantId", "acme"}};

struct GcpProviderTest : testing::Test, GcpWorld {};

TEST_F(GcpProviderTest, NamesTheKeyAndSendsContextAndChecksums) {
  const auto wrapped = provider()->encrypt(call, as_bytes("123456789"), context);
  ASSERT_TRUE(wrapped) << wrapped.error().message;
  EXPECT_EQ(wrapped->master_key_id, std::string(FakeGcp::parent) + "master");
  const auto asked = google.seen().back();
  EXPECT_EQ(asked.url, "https://cloudkms.googleapis.com/v1/" + wrapped->master_key_id + ":encrypt");
  EXPECT_EQ(asked.field("additionalAuthenticatedData"),
            base64_encode(as_bytes(canonical_json(context))));
  // The check value of CRC-32C: 0xE3069283.
  EXPECT_EQ(asked.field("plaintextCrc32c"), "3808858755");
}

TEST_F(GcpProviderTest, DataKeysAreRandomBytesOfGooglesHsmsWhereTheLocationHasThem) {
  google.have_hsms(true);
  const auto its = provider();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(google.count("locations/us-east1:generateRandomBytes"), 3U);
  EXPECT_EQ(google.seen()[1].body, R"({"lengthBytes":32,"protectionLevel":"HSM"})");
}

TEST_F(GcpProviderTest, ElseOfTheOperatingSystemAndGoogleIsNotAskedAgain) {
  const auto its = provider();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(google.count("generateRandomBytes"), 1U);
}

TEST_F(GcpProviderTest, AnOutageOfRandomBytesIsNoReasonToDoWithoutThemForGood) {
  google.have_hsms(true);
  const auto its = provider();
  google.add_trouble({.path = "generateRandomBytes", .status = 503});
  EXPECT_EQ(its->generate_data_key(call, context).error().code, ErrorCode::kms_unavailable);
  EXPECT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(google.count("generateRandomBytes"), 2U);
}

TEST_F(GcpProviderTest, ALogInThatFailedIsNoReasonToDoWithoutGooglesRandomBytes) {
  google.have_hsms(true);
  const auto its = provider();
  google.add_trouble({.path = "token", .status = 400});
  EXPECT_FALSE(its->generate_data_key(call, context));
  EXPECT_TRUE(its->generate_data_key(call, context));
  EXPECT_EQ(google.count("generateRandomBytes"), 1U);
}

TEST_F(GcpProviderTest, AnAnswerThatItsChecksumDoesNotFitIsNotUsed) {
  google.have_hsms(true);
  const auto its = provider();
  const auto made = its->generate_data_key(call, context);
  ASSERT_TRUE(made);
  google.damage_checksums();
  EXPECT_EQ(its->decrypt(call, made->wrapped, context).error().code, ErrorCode::kms_unavailable);
  EXPECT_EQ(its->encrypt(call, Bytes(32), context).error().code, ErrorCode::kms_unavailable);
  EXPECT_EQ(its->generate_data_key(call, context).error().code, ErrorCode::kms_unavailable);
}

TEST_F(GcpProviderTest, AnAnswerThatHasNotVerifiedOurChecksumsIsNotUsed) {
  google.add_trouble({.path = ":encrypt",
                      .status = 200,
                      .body = R"({"ciphertext":"AAAA","ciphertextCrc32c":"1",)"
                              R"("verifiedPlaintextCrc32c":true})"});
  const auto wrapped = provider()->encrypt(call, Bytes(32), context);
  ASSERT_FALSE(wrapped);
  EXPECT_NE(wrapped.error().message.find("has not verified the checksums"), std::string::npos);
}

TEST_F(GcpProviderTest, DescribesStateDeletionAndPurpose) {
  const auto its = provider();
  google.set_state("master", "DISABLED");
  EXPECT_EQ(its->describe_key(call)->state, "DISABLED");
  EXPECT_FALSE(its->describe_key(call)->usable);
  google.describe_as("master", R"({"purpose":"ENCRYPT_DECRYPT","primary":)"
                               R"({"state":"DESTROY_SCHEDULED","destroyTime":)"
                               R"("2026-12-02T10:15:00Z"}})");
  EXPECT_EQ(its->describe_key(call)->deletion_at, parse_utc_time("2026-12-02T10:15:00Z"));
  google.describe_as("master", R"({"purpose":"MAC"})");
  EXPECT_FALSE(its->describe_key(call)->usable);
  EXPECT_TRUE(its->describe_key(call)->state.starts_with("of purpose MAC"));
}

TEST(GcpErrors, AreToldApartByStatusAndKeepGooglesWords) {
  using enum ErrorCode;
  struct Said {
    int http;
    std::string status, words;
    ErrorCode code;
  };
  for (const auto& [http, status, words, code] : std::initializer_list<Said>{
           {400, "INVALID_ARGUMENT", "Decryption failed: verify that", invalid_ciphertext},
           {400, "INVALID_ARGUMENT", "lengthBytes must be", invalid_argument},
           {400, "FAILED_PRECONDITION", "k is not enabled", kms_key_disabled},
           {401, "UNAUTHENTICATED", "invalid authentication credentials", kms_access_denied},
           {403, "PERMISSION_DENIED", "Permission 'x' denied", kms_access_denied},
           {404, "NOT_FOUND", "CryptoKey k not found.", kms_key_disabled},
           {409, "ABORTED", "conflict", kms_unavailable},
           {429, "RESOURCE_EXHAUSTED", "Quota exceeded", kms_unavailable},
           {499, "CANCELLED", "cancelled", kms_unavailable},
           {500, "INTERNAL", "internal", kms_unavailable},
           {501, "UNIMPLEMENTED", "no", invalid_argument},
           {503, "UNAVAILABLE", "down", kms_unavailable},
           {504, "DEADLINE_EXCEEDED", "late", kms_unavailable},
           {403, "", "", kms_access_denied},
           {418, "", "", invalid_argument},
           {502, "", "", kms_unavailable}}) {
    HttpAnswer answer{.status = http};
    if (!status.empty()) {
      answer.body = WipedString(
          fmt::format(R"({{"error":{{"message":"{}","status":"{}"}}}})", words, status));
    }
    const auto error = classify_gcp_error(answer, "decrypt", SystemTime());
    EXPECT_EQ(to_string(error.code), to_string(code)) << http << " " << status;
    EXPECT_NE(error.message.find(words), std::string::npos) << error.message;
    EXPECT_EQ(error.throttled, http == 429);
  }
}

}  // namespace
}  // namespace betrace::kms
