#include "api/problem.h"

#include <string>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

TEST(Problem, EveryCodeHasTheStatusOfTheContract) {
  const std::pair<int, std::vector<ErrorCode>> statuses[] = {
      {400,
       {ErrorCode::invalid_argument, ErrorCode::malformed_json, ErrorCode::reserved_payload,
        ErrorCode::invalid_ciphertext}},
      {401, {ErrorCode::unauthenticated}},
      {403, {ErrorCode::permission_denied}},
      {404, {ErrorCode::not_found, ErrorCode::tenant_not_found, ErrorCode::key_not_found}},
      {405, {ErrorCode::method_not_allowed}},
      {408, {ErrorCode::request_timeout}},
      {409, {ErrorCode::conflict, ErrorCode::rotation_running, ErrorCode::already_exists}},
      {410, {ErrorCode::destroyed}},
      {413, {ErrorCode::payload_too_large}},
      {429, {ErrorCode::rate_limited}},
      {431, {ErrorCode::header_too_large}},
      {500, {ErrorCode::internal, ErrorCode::corrupt}},
      {501, {ErrorCode::not_implemented}},
      {503,
       {ErrorCode::kms_access_denied, ErrorCode::kms_key_disabled, ErrorCode::kms_unavailable,
        ErrorCode::kms_timeout, ErrorCode::circuit_open, ErrorCode::wrapped_elsewhere,
        ErrorCode::overloaded, ErrorCode::store_unavailable}}};
  std::size_t seen = 0;
  for (const auto& [status, codes] : statuses) {
    for (const auto code : codes) {
      EXPECT_EQ(http_status(code), status) << to_string(code);
      ++seen;
    }
  }
  EXPECT_EQ(seen, static_cast<std::size_t>(ErrorCode::store_unavailable) + 1);
}

TEST(Problem, IsAnRfc9457DocumentWithACode) {
  ApiWorld world;
  world.keys.next_error = Error{
      .code = ErrorCode::kms_access_denied,
      .message = "User: arn:aws:iam::1:role/x is not authorized to perform: kms:Decrypt \"here\"\n",
      .type = "AccessDeniedException"};
  const auto answer = world.post("/api/tenants/acme/sign", R"({"payload":""})");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.type, "application/problem+json");
  EXPECT_EQ(answer.text("type"), "about:blank");
  EXPECT_EQ(answer.text("title"), "Service Unavailable");
  EXPECT_EQ(answer.code(), "kms_access_denied");
  EXPECT_EQ(answer.json().at("status").as_int64(), 503);
  EXPECT_EQ(answer.text("detail"),
            "User: arn:aws:iam::1:role/x is not authorized to perform: kms:Decrypt \"here\"\n")
      << "the provider's own words";
  EXPECT_EQ(answer.text("requestId"), answer.header("X-Request-Id"));
  EXPECT_EQ(answer.header("Retry-After"), "");
}

TEST(Problem, SaysWhenToTryAgainWhereThatIsKnown) {
  ApiWorld world;
  const auto retry_after = [&](ErrorCode code, std::chrono::milliseconds wait) {
    world.keys.next_error = Error{.code = code, .message = "m", .type = {}, .retry_after = wait};
    return world.post("/api/tenants/acme/sign", R"({"payload":""})").header("Retry-After");
  };
  EXPECT_EQ(retry_after(ErrorCode::circuit_open, std::chrono::milliseconds(4200)), "5");
  EXPECT_EQ(retry_after(ErrorCode::kms_unavailable, std::chrono::milliseconds(3000)), "3");
  EXPECT_EQ(retry_after(ErrorCode::kms_unavailable, std::chrono::milliseconds(0)), "1");
}

TEST(Problem, EveryErrorOfTheServiceArrives) {
  ApiWorld world;
  for (int code = 0; code <= static_cast<int>(ErrorCode::store_unavailable); ++code) {
    const auto each = static_cast<ErrorCode>(code);
    for (const auto& [path, body] : {std::pair{"sign", R"({"payload":""})"},
                                     std::pair{"verify", R"({"payload":"","signature":""})"},
                                     std::pair{"encrypt", R"({"plaintext":""})"},
                                     std::pair{"decrypt", R"({"ciphertext":"betrace:v1:AA"})"},
                                     std::pair{"data-key", ""}, std::pair{"rotate", ""}}) {
      world.keys.next_error = Error{.code = each, .message = "because", .type = {}};
      const auto answer = world.post(std::string("/api/tenants/acme/") + path, body);
      EXPECT_EQ(answer.status, http_status(each)) << path;
      EXPECT_EQ(answer.code(), to_string(each)) << path;
    }
  }
}

}  // namespace
}  // namespace betrace::kms
