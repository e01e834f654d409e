// A tenant's name, checked once where it enters: [A-Za-z0-9._:-]{1,128}.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "betrace/kms/result.h"

namespace betrace::kms {

class TenantId {
 public:
  // Errors: invalid_argument.
  static Result<TenantId> parse(std::string_view text);
  // The owner of the service's own keys; its text is outside the grammar, so no caller can name it.
  static TenantId service() { return TenantId("@service"); }
  // Trusts the text: for rows the store wrote itself.
  static TenantId from_store(std::string text) { return TenantId(std::move(text)); }

  const std::string& str() const { return text_; }
  bool is_service() const { return text_.front() == '@'; }
  friend auto operator<=>(const TenantId&, const TenantId&) = default;

 private:
  explicit TenantId(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace betrace::kms
