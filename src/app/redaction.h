// Takes secrets out of text that leaves the machine: those that are known, in the forms in which
// bytes are usually written, and what stands behind a word such as "Bearer" or "password=". Rather
// too much than too little. Not thread-safe while secrets are added.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/secret_bytes.h"

namespace betrace::kms {

class Redaction {
 public:
  // As it is, in hexadecimal, and in base64 wherever it stands in a longer text. One of under eight
  // bytes is found only where it is a word of its own. Empty: nothing.
  void add(const SecretBytes& secret);
  std::string apply(std::string_view text) const;

 private:
  void add_form(std::string_view form);

  std::vector<WipedString> forms_;
};

}  // namespace betrace::kms
