// A bundle's leaves: each by itself, counted, and put into the tree.
#include <algorithm>
#include <thread>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/envelope.h"
#include "base/json.h"
#include "base/json_note.h"
#include "evidence/bundle.h"
#include "evidence/frameworks.h"
#include "evidence/span.h"
#include "evidence/tiles.h"

namespace betrace::kms {
namespace {

constexpr std::size_t kinds_max = 10'000;
constexpr std::size_t lines_per_thread_min = 64;

// What a span must have besides, to be counted; nothing else is signed by the service.
bool has_its_fields(const boost::json::value& span) {
  for (const auto* name : {"outcome", "evidenceType"}) {
    const auto* const field = span.get_object().if_contains(name);
    if (field != nullptr && (!field->is_string() || field->get_string().empty())) return false;
  }
  return !text_of(span, "framework").empty() && !text_of(span, "control").empty() &&
         rfc3339_time(text_of(span, "timestamp"));
}

}  // namespace

struct BundleVerifier::Checked {
  Digest hash{};
  std::string problem;  // empty: the span verified
  std::string framework, control, outcome, timestamp;
  bool in_period = true;
  std::optional<KeyId> key;  // none: the tree stands for a signature
};

// On any thread.
BundleVerifier::Checked BundleVerifier::check(std::string_view line, std::uint64_t index) const {
  Checked checked{.hash = leaf_hash(as_bytes(line))};
  JsonDocument document;
  WipedString canonical;
  if (!document.parse(line) || !document.root().is_object()) {
    checked.problem = "it is not a JSON object";
    return checked;
  }
  const auto& root = document.root();
  append_canonical_json(root, canonical);
  checked.framework = text_of(root, "framework");
  checked.control = text_of(root, "control");
  checked.outcome = text_of(root, "outcome");
  checked.timestamp = text_of(root, "timestamp");
  const auto time = rfc3339_time(checked.timestamp);
  checked.in_period = time && (!from_ || *time >= *from_) && (!to_ || *time < *to_);
  if (std::string_view(canonical) != line) {
    checked.problem = "Malformed: it is not in its RFC 8785 form";
  } else if (line.size() > leaf_bytes_max) {
    checked.problem = "it is longer than a leaf may be";
  } else if (LoggedSpan::is_one(root.get_object())) {
    checked.problem = LoggedSpan::parse(root.get_object(), index).fault;
  } else {
    const auto span = SignedSpan::parse(root.get_object());
    checked.problem = span.fault.empty() ? fault_of(span, index) : span.fault;
    checked.key = span.key;
  }
  if (!checked.problem.empty()) return checked;
  if (!has_its_fields(root)) {
    checked.problem =
        "Malformed: framework, control, timestamp or outcome is not what it has to be";
  } else if (const auto tenant = text_of(root, "tenantId"); tenant != report_.tenant) {
    checked.problem = fmt::format("it is of another tenant, '{}'", tenant);
  }
  return checked;
}

// Why the signature of the leaf at `index` does not hold; empty: it does.
std::string BundleVerifier::fault_of(const SignedSpan& span, std::uint64_t index) const {
  const auto key = keys_.find(span.key);
  if (key == keys_.end()) return fmt::format("Unknown key: {}", span.key.str());
  if (!is_signed_by(key->second.public_key, span.statement, span.signature)) {
    return "Signature invalid or tampered";
  }
  const auto revoked = key->second.listed.revoked_at;
  if (!revoked) return {};
  const auto proves = [&](const Checkpoint& each) {
    return each.size > index && each.time < *revoked;
  };
  if (std::ranges::any_of(checkpoints_, proves) || proves(report_.checkpoint)) return {};
  return fmt::format("Key revoked at {}, and nothing proves the span older than that",
                     rfc3339(*revoked));
}

void BundleVerifier::add(const std::vector<std::string>& lines) {
  std::vector<Checked> checked(lines.size());
  const auto first = report_.begin + lines_;
  const auto threads = std::clamp<std::size_t>(lines.size() / lines_per_thread_min, 1,
                                               std::max(1U, std::thread::hardware_concurrency()));
  const auto work = [&](std::size_t begin) {
    for (auto i = begin; i < lines.size(); i += threads) checked[i] = check(lines[i], first + i);
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
  }
  for (const auto& each : checked) {
    if (lines_ >= leaves_expected()) {
      complain({}, "there are lines behind the last leaf");
      return;
    }
    meet_checkpoints();
    tree_.add_leaf(each.hash);
    count(each);
    ++lines_;
  }
}

void BundleVerifier::count(const Checked& checked) {
  ++report_.spans;
  if (!checked.problem.empty()) return complain(report_.begin + lines_, checked.problem);
  ++report_.valid_spans;
  checked.key ? ++keys_.at(*checked.key).listed.spans : ++report_.logged_spans;
  if (!checked.in_period) {
    ++report_.outside_period;
    return;
  }
  const auto slot = [](auto& map, auto key, auto rest) -> auto& {
    return map.size() < kinds_max || map.contains(key) ? map[key] : map[rest];
  };
  const std::pair<std::string, std::string> as_it_is{checked.framework, checked.control};
  std::pair one_form{framework_form(checked.framework), control_form(checked.control)};
  auto spelt = spelling_.find(one_form);
  if (spelt == spelling_.end() && spelling_.size() < kinds_max) {
    spelt = spelling_.emplace(std::move(one_form), as_it_is).first;
  }
  auto& outcomes = slot(report_.by_control, spelt == spelling_.end() ? as_it_is : spelt->second,
                        std::pair(std::string("others"), std::string("others")));
  ++(checked.outcome == "success"   ? outcomes.success
     : checked.outcome == "failure" ? outcomes.failure
                                    : outcomes.other);
  const auto utc = rfc3339(*rfc3339_time(checked.timestamp));
  ++slot(report_.by_day, utc.substr(0, 10), std::string("others"));
  if (report_.first_time.empty() || utc < report_.first_time) report_.first_time = utc;
  if (utc > report_.last_time) report_.last_time = utc;
}

// Those of the tree's size.
void BundleVerifier::meet_checkpoints() {
  const auto size = tree_.size();
  const bool held_here =
      held_ && held_->size == size && report_.held == BundleReport::Held::unproven;
  const bool one_here =
      next_checkpoint_ < checkpoints_.size() && checkpoints_[next_checkpoint_].size == size;
  if (!held_here && !one_here) return;
  const auto root = tree_.root();
  if (held_here) {
    report_.held =
        held_->root == root ? BundleReport::Held::consistent : BundleReport::Held::contradicted;
  }
  for (; next_checkpoint_ < checkpoints_.size() && checkpoints_[next_checkpoint_].size == size;
       ++next_checkpoint_) {
    if (checkpoints_[next_checkpoint_].root == root) continue;
    complain({}, fmt::format("checkpoint of {} leaves: the leaves are not those that it was made "
                             "over",
                             size));
  }
}

}  // namespace betrace::kms
