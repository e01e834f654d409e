#include "providers/aws_errors.h"

#include <gtest/gtest.h>

#include "betrace/kms/provider.h"

namespace betrace::kms {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr SystemTime now{seconds(1'795'399'200)};  // Mon, 23 Nov 2026 02:00:00 GMT

HttpAnswer answer(int status, std::string_view body, Headers headers = {}) {
  HttpAnswer made;
  made.status = status;
  made.headers = std::move(headers);
  made.body = body;
  return made;
}

Error classify(const HttpAnswer& what) { return classify_aws_error(what, "AWS kms Decrypt", now); }

std::string typed(std::string_view type) {
  return R"({"__type":")" + std::string(type) + R"(","message":"AWS's own words"})";
}

TEST(AwsErrors, EachTypeHasItsCodeAndKeepsAwssWords) {
  using enum ErrorCode;
  struct Row {
    const char* type;
    int status;
    ErrorCode code;
    bool throttled = false;
  };
  const std::vector<Row> rows{
      {"AccessDeniedException", 400, kms_access_denied},
      {"AccessDenied", 403, kms_access_denied},
      {"NotAuthorizedException", 400, kms_access_denied},
      {"NotAuthorized", 400, kms_access_denied},
      {"OptInRequired", 403, kms_access_denied},
      {"UnrecognizedClientException", 400, kms_access_denied},
      {"InvalidClientTokenId", 403, kms_access_denied},
      {"ExpiredTokenException", 400, kms_access_denied},
      {"ExpiredToken", 403, kms_access_denied},
      {"InvalidSignatureException", 400, kms_access_denied},
      {"SignatureDoesNotMatch", 403, kms_access_denied},
      {"IncompleteSignature", 400, kms_access_denied},
      {"IncompleteSignatureException", 400, kms_access_denied},
      {"RequestExpired", 400, kms_access_denied},
      {"RequestTimeTooSkewed", 403, kms_access_denied},
      {"MissingAuthenticationToken", 403, kms_access_denied},
      {"MissingAuthenticationTokenException", 400, kms_access_denied},
      {"DisabledException", 400, kms_key_disabled},
      {"KMSInvalidStateException", 400, kms_key_disabled},
      {"NotFoundException", 400, kms_key_disabled},
      {"InvalidArnException", 400, kms_key_disabled},
      {"InvalidKeyUsageException", 400, kms_key_disabled},
      {"KeyUnavailableException", 500, kms_unavailable},
      {"DependencyTimeoutException", 500, kms_unavailable},
      {"KMSInternalException", 500, kms_unavailable},
      {"InternalFailure", 500, kms_unavailable},
      {"InternalException", 500, kms_unavailable},
      {"ServiceUnavailable", 503, kms_unavailable},
      {"ThrottlingException", 400, kms_unavailable, true},
      {"Throttling", 400, kms_unavailable, true},
      {"TooManyRequestsException", 429, kms_unavailable, true},
      {"LimitExceededException", 400, kms_unavailable, true},
      {"RequestLimitExceeded", 503, kms_unavailable, true},
      {"InvalidCiphertextException", 400, invalid_ciphertext},
      {"IncorrectKeyException", 400, wrapped_elsewhere},
      {"ValidationException", 400, invalid_argument},
      {"SerializationException", 400, invalid_argument},
      {"SomethingNewException", 400, invalid_argument},
      {"SomethingNewException", 403, kms_access_denied},
      {"SomethingNewException", 429, kms_unavailable, true},
      {"SomethingNewException", 500, kms_unavailable},
  };
  for (const Row& row : rows) {
    const Error error = classify(answer(row.status, typed(row.type)));
    EXPECT_EQ(to_string(error.code), to_string(row.code)) << row.type << " " << row.status;
    EXPECT_EQ(error.throttled, row.throttled) << row.type;
    EXPECT_EQ(error.type, row.type);
    EXPECT_NE(error.message.find("AWS's own words"), std::string::npos) << row.type;
    if (row.code != invalid_ciphertext) {
      EXPECT_EQ(error.message, "AWS's own words") << row.type;
    }
  }
}

TEST(AwsErrors, TheTypeIsReadFromTheBodyThenTheHeaderThenXmlThenTheStatus) {
  const Headers header{{"x-amzn-errortype", "DisabledException:http://internal.amazon.com/coral/"}};
  EXPECT_EQ(classify(answer(400, typed("com.amazonaws.kms#AccessDeniedException"), header)).type,
            "AccessDeniedException");
  EXPECT_EQ(classify(answer(400, R"({"message":"m"})", header)).type, "DisabledException");
  EXPECT_EQ(classify(answer(400, "", header)).code, ErrorCode::kms_key_disabled);

  const std::string xml =
      "<?xml version=\"1.0\"?><ErrorResponse><Error><Code>AccessDenied</Code>"
      "<Message>User: arn:aws:iam::1:user/u is not authorized &amp; &lt;so&gt; &#39;on&#x27;"
      "</Message></Error></ErrorResponse>";
  const Error by_xml = classify(answer(403, xml));
  EXPECT_EQ(by_xml.type, "AccessDenied");
  EXPECT_EQ(by_xml.message, "User: arn:aws:iam::1:user/u is not authorized & <so> 'on'");
  EXPECT_EQ(classify(answer(403, xml, header)).type, "DisabledException");

  EXPECT_EQ(classify(answer(401, "")).code, ErrorCode::kms_access_denied);
  EXPECT_EQ(classify(answer(429, "")).throttled, true);
  for (const int status : {301, 400, 404, 500, 502, 503, 504}) {
    const Error error = classify(answer(status, "<html>proxy</html>"));
    EXPECT_EQ(error.code, ErrorCode::kms_unavailable) << status;
    EXPECT_EQ(error.message, "AWS kms Decrypt was answered with HTTP " + std::to_string(status) +
                                 " and no AWS error: is the endpoint AWS's?");
  }
}

TEST(AwsErrors, BothSpellingsOfMessageAreRead) {
  EXPECT_EQ(classify(answer(400, R"({"__type":"AccessDeniedException","Message":"big"})")).message,
            "big");
}

TEST(AwsErrors, ATypeWithoutWordsIsNamedInTheMessage) {
  EXPECT_EQ(classify(answer(400, R"({"__type":"DisabledException"})")).message,
            "AWS kms Decrypt was refused: DisabledException (HTTP 400)");
  EXPECT_EQ(classify(answer(400, R"({"__type":"DisabledException","message":null})")).message,
            "AWS kms Decrypt was refused: DisabledException (HTTP 400)");
}

TEST(AwsErrors, ATypeThatIsNoNameIsNotRepeated) {
  const Error error = classify(answer(400, R"({"__type":"a b\nWARN forged line","message":"m"})"));
  EXPECT_EQ(error.type, "");
  EXPECT_EQ(error.code, ErrorCode::kms_unavailable);
}

TEST(AwsErrors, AnInvalidCiphertextSaysTheSentenceUsersGrep) {
  const std::string sentence(context_mismatch_message);
  EXPECT_EQ(classify(answer(400, R"({"__type":"InvalidCiphertextException"})")).message,
            sentence + " or the ciphertext was altered");
  EXPECT_EQ(classify(answer(400, typed("InvalidCiphertextException"))).message,
            sentence + " or the ciphertext was altered: AWS's own words");
}

TEST(AwsErrors, AWrongClockIsNamedWithItsDistance) {
  const std::string body =
      R"({"__type":"InvalidSignatureException","message":"Signature expired: x is now earlier"})";
  const auto with_date = [&](const char* date) {
    return classify(answer(400, body, {{"date", date}})).message;
  };
  EXPECT_EQ(with_date("Mon, 23 Nov 2026 01:50:00 GMT"),
            "Signature expired: x is now earlier (this machine's clock is 600 s ahead of AWS's)");
  EXPECT_EQ(with_date("Mon, 23 Nov 2026 02:10:30 GMT"),
            "Signature expired: x is now earlier (this machine's clock is 630 s behind AWS's)");
  EXPECT_EQ(with_date("Mon, 23 Nov 2026 02:00:20 GMT"), "Signature expired: x is now earlier");
  EXPECT_EQ(with_date("yesterday"), "Signature expired: x is now earlier");
  EXPECT_EQ(classify(answer(400, typed("AccessDeniedException"),
                            {{"date", "Mon, 23 Nov 2026 01:50:00 GMT"}}))
                .message,
            "AWS's own words");
}

TEST(AwsErrors, RetryAfterIsOfWhatPasses) {
  const auto of = [](int status) {
    return classify(answer(status, "", {{"retry-after", "2"}})).retry_after;
  };
  EXPECT_EQ(of(429), seconds(2));
  EXPECT_EQ(of(503), seconds(2));
  EXPECT_EQ(of(403), std::nullopt);
}

TEST(AwsErrors, OnlyOldOrUnknownCredentialsAreWorthLoadingAnew) {
  for (const char* type : {"ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException",
                           "InvalidClientTokenId"}) {
    EXPECT_TRUE(refuses_credentials(Error{.type = type})) << type;
  }
  for (const char* type : {"", "AccessDeniedException", "InvalidSignatureException"}) {
    EXPECT_FALSE(refuses_credentials(Error{.type = type})) << type;
  }
}

TEST(AwsErrors, AMessageIsBoundedInLength) {
  const std::string body =
      R"({"__type":"ValidationException","message":")" + std::string(50'000, 'x') + R"("})";
  EXPECT_EQ(classify(answer(400, body)).message.size(), 4096u);
}

TEST(XmlText, AnswersTheFirstElementOfThatName) {
  EXPECT_EQ(xml_text("<a><b>1</b><b>2</b></a>", "b"), "1");
  EXPECT_EQ(xml_text("<a><b></b></a>", "b"), "");
  EXPECT_EQ(xml_text("<b>&amp;&unknown;&</b>", "b"), "&?&");
  for (const char* text : {"", "<b>", "<b>x", "b", "</b>"})
    EXPECT_FALSE(xml_text(text, "b")) << text;
}

}  // namespace
}  // namespace betrace::kms
