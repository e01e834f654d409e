// A provider's JSON answer, read by JSON pointer. It may hold a secret: what parsing copies out of
// it is wiped when the answer goes. The views point into it. Not synchronised.
#pragma once

#include <memory>
#include <optional>
#include <string_view>

namespace betrace::kms {

class JsonDocument;

class JsonAnswer {
 public:
  // Nothing unless `text` is one JSON object, at most 32 deep.
  static std::optional<JsonAnswer> parse(std::string_view text);
  JsonAnswer(JsonAnswer&&) noexcept;
  JsonAnswer& operator=(JsonAnswer&&) noexcept;
  ~JsonAnswer();

  // By JSON pointer (RFC 6901), e.g. "/KeyMetadata/Arn"; nothing when absent or of another type.
  std::optional<std::string_view> text(std::string_view pointer) const;
  std::optional<double> number(std::string_view pointer) const;
  std::optional<bool> flag(std::string_view pointer) const;

 private:
  explicit JsonAnswer(std::unique_ptr<JsonDocument> document);
  std::unique_ptr<JsonDocument> document_;
};

}  // namespace betrace::kms
