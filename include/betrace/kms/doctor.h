// What is wrong with the service, said before anybody opens the manual: each finding with its
// evidence, its cause and commands that set it right. Values; Doctor is thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace betrace::kms {

// Worst first.
enum class Severity : std::uint8_t { critical, warning, info };

struct Finding {
  std::string id;  // "iam-denied"; the list is in docs/doctor.md
  Severity severity = Severity::warning;
  std::string title;
  std::string evidence;             // what was seen, the provider's own words among it
  std::string cause;                // why it is so, as far as can be told
  std::vector<std::string> remedy;  // commands that can be pasted, in order
  std::string manual;               // "Issue 1"; "docs/doctor.md" for what the manual has not
};

struct DoctorReport {
  std::vector<Finding> findings;  // worst first
  // Nothing critical and no warning: what is merely worth knowing makes nobody ill.
  bool healthy() const {
    return std::ranges::all_of(findings,
                               [](const Finding& each) { return each.severity == Severity::info; });
  }
};

class Doctor {
 public:
  virtual ~Doctor() = default;
  // At once, from what was last seen; also while the provider and the store hang.
  virtual DoctorReport report() const = 0;
};

}  // namespace betrace::kms
