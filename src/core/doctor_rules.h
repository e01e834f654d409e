// The rules of doctor: pure functions from facts to findings. To add a finding: a row in the table
// of kinds, a rule, a test, a row in docs/doctor.md (a test compares).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/doctor.h"

#include "core/doctor_facts.h"

namespace betrace::kms {

struct FindingKind {
  std::string_view id;
  std::string_view manual;  // "Issue 1"
};

// Every finding there is; of two that are equally severe the earlier one comes first.
std::span<const FindingKind> finding_kinds();

// All rules over these facts.
DoctorReport diagnose(const DoctorFacts& facts);
// Sorts worst first; of findings with one id the first stays, and none of which another says more.
DoctorReport in_order(std::vector<Finding> findings);

// For the rules: a finding of a kind of the table, and what they share.
Finding finding(std::string_view id, Severity severity, std::string title);
// The command that adds a setting to the configuration file, where the last one counts.
std::string set_command(const ConfigFacts& config, std::string_view key, std::string_view value);
inline constexpr const char* restart_command = "systemctl restart betrace-kms";
// What the provider advises; nothing where there is none to ask.
Advice advice_of(const DoctorFacts& facts, const Trouble& trouble);
// Its commands, then its settings as commands, and the restart that makes them count.
std::vector<std::string> remedy_of(const DoctorFacts& facts, const Advice& advice);
// How long each phase of an exchange took.
std::string phases_text(const HttpPhases& phases);
// As one word of a shell.
std::string shell_word(std::string_view text);

// The rules by subject, each in its file.
using Findings = std::vector<Finding>;
void diagnose_configuration(const DoctorFacts& facts, Findings& out);
void diagnose_provider(const DoctorFacts& facts, Findings& out);
void diagnose_service(const DoctorFacts& facts, Findings& out);
void diagnose_usage(const DoctorFacts& facts, Findings& out);
void diagnose_host(const DoctorFacts& facts, Findings& out);

}  // namespace betrace::kms
