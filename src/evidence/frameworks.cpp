#include "evidence/frameworks.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

// The numbers of one series: "cc6." 1 to 8. `deeper`: sub-paragraphs may follow, ".a.1".
struct Series {
  std::string_view prefix;
  int first, last;
  bool deeper = false;
};

// AICPA, Trust Services Criteria of 2017 with the points of focus of 2022.
constexpr Series soc2[] = {{"cc1.", 1, 5}, {"cc2.", 1, 3}, {"cc3.", 1, 4}, {"cc4.", 1, 2},
                           {"cc5.", 1, 3}, {"cc6.", 1, 8}, {"cc7.", 1, 5}, {"cc8.", 1, 1},
                           {"cc9.", 1, 2}, {"a1.", 1, 3},  {"c1.", 1, 2},  {"pi1.", 1, 5},
                           {"p1.", 1, 1},  {"p2.", 1, 1},  {"p3.", 1, 2},  {"p4.", 1, 3},
                           {"p5.", 1, 2},  {"p6.", 1, 7},  {"p7.", 1, 1},  {"p8.", 1, 1}};
// 45 CFR part 164: security (306 to 316), breach notification (404 to 414), privacy (502 to 534).
constexpr Series hipaa[] = {
    {"164.", 306, 318, true}, {"164.", 400, 414, true}, {"164.", 500, 534, true}};
// Regulation (EU) 2016/679: "Art. 32", "Article 32(1)(a)", "32".
constexpr Series gdpr[] = {{"art.", 1, 99, true}, {"article.", 1, 99, true}, {"", 1, 99, true}};
// NIST SP 800-53 revision 5, with control enhancements: "AC-2(1)".
constexpr Series fedramp[] = {
    {"ac.", 1, 25, true}, {"at.", 1, 6, true},  {"au.", 1, 16, true}, {"ca.", 1, 9, true},
    {"cm.", 1, 14, true}, {"cp.", 1, 13, true}, {"ia.", 1, 12, true}, {"ir.", 1, 10, true},
    {"ma.", 1, 7, true},  {"mp.", 1, 8, true},  {"pe.", 1, 23, true}, {"pl.", 1, 11, true},
    {"pm.", 1, 32, true}, {"ps.", 1, 9, true},  {"pt.", 1, 8, true},  {"ra.", 1, 10, true},
    {"sa.", 1, 23, true}, {"sc.", 1, 51, true}, {"si.", 1, 23, true}, {"sr.", 1, 12, true}};
// PCI DSS 4.0: "8.3.6", also "Req 8.3.6".
constexpr Series pci_dss[] = {{"", 1, 12, true}, {"req.", 1, 12, true}};
// ISO/IEC 27001:2022, annex A and the clauses.
constexpr Series iso27001[] = {
    {"a.5.", 1, 37}, {"a.6.", 1, 8}, {"a.7.", 1, 14}, {"a.8.", 1, 34}, {"", 4, 10, true}};

struct Framework {
  std::string_view name;
  std::span<const Series> series;
  std::string_view example;
};
constexpr Framework table[] = {{"soc2", soc2, "CC6_1"},        {"hipaa", hipaa, "164.312(b)"},
                               {"gdpr", gdpr, "Art_32"},       {"fedramp", fedramp, "AU-2(1)"},
                               {"pci-dss", pci_dss, "10.2.1"}, {"iso27001", iso27001, "A.8.15"}};

bool is_separator(char c) { return std::string_view("._- ()/").find(c) != std::string_view::npos; }

bool holds(const Series& series, std::string_view control) {
  if (!control.starts_with(series.prefix)) return false;
  control.remove_prefix(series.prefix.size());
  const auto digits = std::min(control.find('.'), control.size());
  int number = 0;
  for (const char c : control.substr(0, digits)) {
    if (c < '0' || c > '9' || number > 9999) return false;
    number = number * 10 + (c - '0');
  }
  const bool plain = digits == control.size() || series.deeper;
  return plain && digits > 0 && control.front() != '0' && number >= series.first &&
         number <= series.last;
}

const Framework* find(std::string_view name) {
  const auto found = std::ranges::find_if(
      table, [&](const Framework& each) { return framework_form(each.name) == name; });
  return found == std::end(table) ? nullptr : found;
}

}  // namespace

std::string control_form(std::string_view text) {
  std::string form;
  for (const char c : text) {
    if (is_separator(c)) {
      if (!form.empty() && form.back() != '.') form += '.';
    } else {
      form += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  if (form.ends_with('.')) form.pop_back();
  return form;
}

std::string framework_form(std::string_view text) {
  auto form = control_form(text);
  std::erase(form, '.');
  return form;
}

Result<Frameworks> Frameworks::with(const std::vector<std::string>& more, Unknown unknown) {
  Frameworks made;
  made.unknown_ = unknown;
  for (const std::string& each : more) {
    const auto colon = each.find(':');
    const auto framework = framework_form(each.substr(0, colon));
    const auto control = colon == std::string::npos ? "" : each.substr(colon + 1);
    if (framework.empty() || control.empty()) {
      return fail(
          ErrorCode::invalid_argument,
          fmt::format("'{}': accepted is FRAMEWORK:CONTROL, or FRAMEWORK:* for any control", each));
    }
    made.controls_[framework].push_back(control == "*" ? control : control_form(control));
  }
  return made;
}

Status Frameworks::check(std::string_view framework, std::string_view control) const {
  const auto name = framework_form(framework);
  const auto form = control_form(control);
  const auto added = controls_.find(name);
  if (added != controls_.end() && std::ranges::any_of(added->second, [&](const auto& each) {
        return each == "*" || each == form;
      })) {
    return {};
  }
  const Framework* known = find(name);
  if (known != nullptr &&
      std::ranges::any_of(known->series, [&](const Series& each) { return holds(each, form); })) {
    return {};
  }
  if (unknown_ == Unknown::pass) return {};
  if (known != nullptr || added != controls_.end()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("control '{}' is not one of framework {}{}; further ones are accepted "
                            "by betrace.evidence.controls",
                            control, framework,
                            known ? fmt::format(", whose controls are such as {}", known->example)
                                  : std::string()));
  }
  std::vector<std::string_view> names;
  for (const auto& each : table) names.push_back(each.name);
  for (const auto& [each, controls] : controls_) names.push_back(each);
  return fail(ErrorCode::invalid_argument,
              fmt::format("framework '{}' is not known; accepted are {}, and others by "
                          "betrace.evidence.controls",
                          framework, fmt::join(names, ", ")));
}

}  // namespace betrace::kms
