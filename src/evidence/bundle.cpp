#include "evidence/bundle.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <thread>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/envelope.h"
#include "base/json.h"
#include "base/json_note.h"
#include "base/try.h"
#include "evidence/span.h"
#include "evidence/tiles.h"

namespace betrace::kms {
namespace {

using boost::json::value;

constexpr std::size_t problems_max = 100, kinds_max = 10'000;
constexpr std::size_t lines_per_thread_min = 64;

std::unexpected<Error> malformed(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

std::optional<std::uint64_t> decimal_of(const value& object, std::string_view name) {
  const auto text = text_of(object, name);
  std::uint64_t number = 0;
  const auto* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  const bool padded = text.size() > 1 && text.front() == '0';
  if (text.empty() || padded || read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

const boost::json::array& list_of(const value& object, std::string_view name) {
  static const boost::json::array none;
  const auto* const found = object.is_object() ? object.get_object().if_contains(name) : nullptr;
  return found != nullptr && found->is_array() ? found->get_array() : none;
}

std::optional<std::vector<Digest>> hashes_of(const value& object, std::string_view name) {
  std::vector<Digest> hashes;
  for (const auto& each : list_of(object, name)) {
    const auto bytes = each.is_string() ? base64_decode(each.get_string()) : std::nullopt;
    if (!bytes || bytes->size() != sizeof(Digest)) return std::nullopt;
    std::ranges::copy(*bytes, hashes.emplace_back().begin());
  }
  return hashes;
}

// The 32 bytes of a SubjectPublicKeyInfo in base64; empty when it is none.
Bytes public_key_of(const value& key) {
  const auto der = base64_decode(text_of(key, "publicKey"));
  if (!der || der->size() < 32) return {};
  Bytes raw(der->end() - 32, der->end());
  const auto expected = ed25519_spki(raw);
  return std::ranges::equal(*der, expected) ? raw : Bytes();
}

// The envelope's own text, as it stands in the document.
std::string json_of(const value& object, std::string_view name) {
  const auto* const found = object.is_object() ? object.get_object().if_contains(name) : nullptr;
  WipedString out;
  if (found != nullptr) append_canonical_json(*found, out);
  return std::string(out);
}

bool is_attested(const value& key, const Bytes& public_key, const std::string& tenant,
                 const Bytes& service_key) {
  const auto opened = open_envelope(json_of(key, "attestation"), public_key_type, service_key);
  JsonDocument document;
  return opened && document.parse(opened->payload) &&
         text_of(document.root(), "keyId") == text_of(key, "keyId") &&
         text_of(document.root(), "tenantId") == tenant &&
         text_of(document.root(), "publicKey") == base64_encode(public_key);
}

bool is_known(std::string_view status) {
  return std::ranges::any_of(
      std::array{KeyState::active, KeyState::rotated, KeyState::revoked, KeyState::destroyed},
      [&](KeyState state) { return status == key_status(state); });
}

// What a span must have besides, to be counted; nothing else is signed by the service.
bool has_its_fields(const value& span) {
  for (const auto* name : {"outcome", "evidenceType"}) {
    const auto* const field = span.get_object().if_contains(name);
    if (field != nullptr && (!field->is_string() || field->get_string().empty())) return false;
  }
  return !text_of(span, "framework").empty() && !text_of(span, "control").empty() &&
         rfc3339_time(text_of(span, "timestamp"));
}

// The head that says the payload with the first of the envelope's signatures, as the service writes
// it.
std::string head_of(std::string_view payload, const KeyId& key, std::string_view envelope) {
  JsonDocument document;
  if (!document.parse(envelope)) return {};
  const auto& signatures = list_of(document.root(), "signatures");
  const auto signature =
      signatures.empty() ? std::nullopt : base64_decode(text_of(signatures.front(), "sig"));
  if (!signature) return {};
  const EnvelopeSignature by_service{key, *signature};
  return JsonNote()
      .text("format", bundle_format)
      .raw("manifest", dsse_envelope(bundle_type, payload, {&by_service, 1}))
      .str();
}

Result<Checkpoint> open_checkpoint(std::string_view note, const NoteKey& key,
                                   std::string_view tenant) {
  auto checkpoint = TRY(Checkpoint::parse(TRY(open_note(note, key))));
  if (checkpoint.origin == fmt::format("{}/{}", key.name, tenant)) return checkpoint;
  return malformed(fmt::format("it is of another log, '{}'", checkpoint.origin));
}

}  // namespace

struct BundleVerifier::Checked {
  Digest hash{};
  std::string problem;  // empty: the span verified
  std::string framework, control, outcome, timestamp;
  bool in_period = true;
  std::optional<KeyId> key;
};

// --- the head -----------------------------------------------------------------------------------

Result<BundleVerifier> BundleVerifier::begin(std::string_view head, BundleTrust trust) {
  JsonDocument document;
  if (!document.parse(head) || !document.root().is_object()) {
    return malformed("the first line is not a JSON object, so this is no bundle of evidence");
  }
  const auto format = text_of(document.root(), "format");
  if (format != bundle_format) {
    return malformed(fmt::format("format: '{}' is not known; '{}' is", format, bundle_format));
  }
  const auto envelope = json_of(document.root(), "manifest");
  JsonDocument outside;
  const auto payload =
      outside.parse(envelope) ? base64_decode(text_of(outside.root(), "payload")) : std::nullopt;
  if (!payload) return malformed("manifest: it is not a DSSE envelope");
  BundleVerifier verifier;
  verifier.trust_ = std::move(trust);
  TRY(verifier.read(as_text(*payload)));
  verifier.check_service_key(head, envelope);
  verifier.read_keys(as_text(*payload));
  verifier.read_checkpoints(as_text(*payload));
  return verifier;
}

Status BundleVerifier::read(std::string_view manifest) {
  JsonDocument document;
  if (!document.parse(manifest) || !document.root().is_object()) {
    return malformed("manifest: its payload is not a JSON object");
  }
  const auto& root = document.root();
  report_.tenant = text_of(root, "tenantId");
  report_.created_at = text_of(root, "createdAt");
  report_.from = text_of(root, "from");
  report_.to = text_of(root, "to");
  if (!report_.from.empty()) from_ = rfc3339_time(report_.from);
  if (!report_.to.empty()) to_ = rfc3339_time(report_.to);
  const auto begin = decimal_of(root, "begin"), end = decimal_of(root, "end");
  if (!begin || !end || *begin > *end) return malformed("manifest: begin and end are no range");
  report_.begin = *begin;
  report_.end = *end;
  auto left = hashes_of(root, "left"), right = hashes_of(root, "right");
  if (!left || !right) return malformed("manifest: left or right is not a list of hashes");
  auto tree = GrowingTree::resume(*begin, *std::move(left));
  if (!tree) return malformed("manifest: left has not the hashes of so many leaves");
  tree_ = *std::move(tree);
  right_ = *std::move(right);
  auto log_key = NoteKey::parse(text_of(root, "logKey"));
  if (!log_key) return malformed("manifest: " + log_key.error().message);
  log_key_ = *std::move(log_key);
  if (const auto first = decimal_of(
          root.get_object().contains("consistency") ? root.at("consistency") : value(), "first")) {
    auto proof = hashes_of(root.at("consistency"), "proof");
    if (!proof) return malformed("manifest: consistency has no proof");
    consistency_.emplace(*first, *std::move(proof));
  }
  for (const auto& each : list_of(root, "serviceKeys")) {
    const auto key = public_key_of(each);
    const bool wanted = !trust_.service_key || *trust_.service_key == key;
    const auto id = KeyId::parse(text_of(each, "keyId"));
    const bool revoked = text_of(each, "status") == key_status(KeyState::revoked);
    if (key.empty() || !id || !wanted || revoked || !service_key_.empty()) continue;
    service_key_ = key;
    service_key_id_ = *id;
  }
  return {};
}

void BundleVerifier::check_service_key(std::string_view head, std::string_view envelope) {
  report_.service_key_pinned = trust_.service_key.has_value();
  report_.log_key_pinned = trust_.log_key.has_value();
  report_.service_key = base64_encode(ed25519_spki(service_key_));
  report_.log_key = log_key_.text();
  if (service_key_.empty()) {
    service_key_ = trust_.service_key.value_or(Bytes());
    complain({}, trust_.service_key ? "the service's key is not the one that you gave"
                                    : "manifest: there is no service key");
  }
  if (trust_.log_key && *trust_.log_key != log_key_) {
    complain({}, "the log's key is not the one that you gave: " + log_key_.text());
    log_key_ = *trust_.log_key;
  }
  const auto opened = open_envelope(envelope, bundle_type, service_key_);
  if (!opened) return complain({}, "manifest: " + opened.error().message);
  // What no signature covers is written in one way alone.
  if (head != head_of(opened->payload, service_key_id_, envelope)) {
    complain({}, "the first line is not written as the service writes it");
  }
}

void BundleVerifier::read_keys(std::string_view manifest) {
  JsonDocument document;
  if (!document.parse(manifest)) return;
  for (const auto& each : list_of(document.root(), "keys")) {
    const auto id = KeyId::parse(text_of(each, "keyId"));
    auto public_key = public_key_of(each);
    if (!id || public_key.empty()) {
      complain({}, fmt::format("key {}: it is no Ed25519 key", text_of(each, "keyId")));
      continue;
    }
    if (!is_attested(each, public_key, report_.tenant, service_key_)) {
      complain({}, fmt::format("key {}: the service does not vouch for it", id->str()));
      continue;
    }
    Key key{.listed = {.id = *id, .status = text_of(each, "status")},
            .public_key = std::move(public_key)};
    const bool says_when = each.get_object().contains("revokedAt");
    const bool revoked = key.listed.status == key_status(KeyState::revoked);
    if (!is_known(key.listed.status) || says_when != revoked) {
      complain({}, fmt::format("key {}: its status is '{}'{}", id->str(), key.listed.status,
                               says_when ? ", and it was revoked" : ""));
    }
    if (revoked) {
      // One that says nothing of the time was never to be trusted.
      key.listed.revoked_at = rfc3339_time(text_of(each, "revokedAt")).value_or(SystemTime::min());
    }
    if (!keys_.emplace(*id, std::move(key)).second) {
      complain({}, fmt::format("key {}: it is listed twice", id->str()));
    }
  }
}

void BundleVerifier::read_checkpoints(std::string_view manifest) {
  JsonDocument document;
  if (!document.parse(manifest)) return;
  const auto& root = document.root();
  const auto open = [&](const std::string& note, std::string_view what) {
    auto opened = open_checkpoint(note, log_key_, report_.tenant);
    if (!opened) complain({}, fmt::format("{}: {}", what, opened.error().message));
    return opened;
  };
  if (auto newest = open(text_of(root, "checkpoint"), "checkpoint")) {
    report_.checkpoint = *std::move(newest);
    if (report_.checkpoint.size < report_.end)
      complain({}, "checkpoint: the log ends before 'end'");
    const bool all = report_.begin == 0 && report_.end == report_.checkpoint.size;
    if (report_.from.empty() && report_.to.empty() && !all) {
      complain({}, "leaves are left out, though the bundle is of no period");
    }
  }
  for (const auto& each : list_of(root, "checkpoints")) {
    const auto older = open(each.is_string() ? std::string(each.get_string()) : "", "checkpoints");
    if (!older) continue;
    if (older->size >= report_.begin && older->size <= report_.end) checkpoints_.push_back(*older);
  }
  std::ranges::stable_sort(checkpoints_, {}, &Checkpoint::size);
  if (trust_.held.empty()) return;
  report_.held = BundleReport::Held::unproven;
  if (const auto held = open(trust_.held, "the checkpoint that you hold")) {
    held_ = *held;
    report_.held_size = held->size;
  }
}

void BundleVerifier::complain(std::optional<std::uint64_t> leaf, std::string message) {
  ++report_.problem_count;
  if (report_.problems.size() < problems_max) {
    report_.problems.push_back({.leaf = leaf, .message = std::move(message)});
  }
}

// --- leaves -------------------------------------------------------------------------------------

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
  const auto span = SignedSpan::parse(root.get_object());
  checked.framework = text_of(root, "framework");
  checked.control = text_of(root, "control");
  checked.outcome = text_of(root, "outcome");
  checked.timestamp = span.timestamp;
  const auto time = rfc3339_time(span.timestamp);
  checked.in_period = time && (!from_ || *time >= *from_) && (!to_ || *time < *to_);
  const auto key = keys_.find(span.key);
  if (std::string_view(canonical) != line) {
    checked.problem = "Malformed: it is not in its RFC 8785 form";
  } else if (!span.fault.empty()) {
    checked.problem = span.fault;
  } else if (line.size() > leaf_bytes_max) {
    checked.problem = "it is longer than a leaf may be";
  } else if (!has_its_fields(root)) {
    checked.problem =
        "Malformed: framework, control, timestamp or outcome is not what it has to be";
  } else if (span.tenant != report_.tenant) {
    checked.problem = fmt::format("it is of another tenant, '{}'", span.tenant);
  } else if (key == keys_.end()) {
    checked.problem = fmt::format("Unknown key: {}", span.key.str());
  } else if (!is_signed_by(key->second.public_key, span.statement, span.signature)) {
    checked.problem = "Signature invalid or tampered";
  } else if (const auto revoked = key->second.listed.revoked_at) {
    const auto proves = [&](const Checkpoint& each) {
      return each.size > index && each.time < *revoked;
    };
    if (!std::ranges::any_of(checkpoints_, proves) && !proves(report_.checkpoint)) {
      checked.problem = fmt::format(
          "Key revoked at {}, and nothing proves the span older than that", rfc3339(*revoked));
    }
  }
  if (checked.problem.empty()) checked.key = span.key;
  return checked;
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
  ++keys_.at(*checked.key).listed.spans;
  if (!checked.in_period) {
    ++report_.outside_period;
    return;
  }
  const auto slot = [](auto& map, auto key, auto rest) -> auto& {
    return map.size() < kinds_max || map.contains(key) ? map[key] : map[rest];
  };
  auto& outcomes = slot(report_.by_control, std::pair(checked.framework, checked.control),
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

// --- the end ------------------------------------------------------------------------------------

BundleReport BundleVerifier::finish(bool cut_off) && {
  if (cut_off) complain({}, "the last line is cut off");
  check_end();
  check_held();
  for (auto& [id, key] : keys_) report_.keys.push_back(std::move(key.listed));
  return std::move(report_);
}

void BundleVerifier::check_end() {
  if (lines_ != leaves_expected()) {
    return complain({}, fmt::format("leaves are missing: there are {}, and the manifest says {}",
                                    lines_, leaves_expected()));
  }
  meet_checkpoints();
  const auto nodes = whole_subtrees(report_.end, report_.checkpoint.size);
  bool fits = nodes.size() == right_.size();
  for (std::size_t i = 0; fits && i < nodes.size(); ++i) {
    fits = tree_.add_subtree(nodes[i].level, right_[i]);
  }
  if (fits && tree_.root() == report_.checkpoint.root) return;
  complain({},
           "the leaves are not those that the checkpoint was made over: some were changed, "
           "dropped, inserted or reordered, or left and right are another log's");
}

void BundleVerifier::check_held() {
  using Held = BundleReport::Held;
  if (!held_) return;
  if (report_.held == Held::unproven && held_->size == tree_.size()) meet_checkpoints();
  if (report_.held == Held::unproven && consistency_ && consistency_->first == held_->size &&
      tree_.size() == report_.checkpoint.size) {
    report_.held = verify_consistency(held_->size, held_->root, report_.checkpoint.size,
                                      report_.checkpoint.root, consistency_->second)
                       ? Held::consistent
                       : Held::contradicted;
  }
  if (report_.held == Held::unproven) {
    complain({}, fmt::format("nothing links the checkpoint that you hold, of {} leaves, to this "
                             "bundle of a log of {}: have it exported with --checkpoint",
                             held_->size, report_.checkpoint.size));
  }
  if (report_.held != Held::contradicted) return;
  complain({}, fmt::format("the log is not the one of the checkpoint that you hold, of {} leaves: "
                           "its history was changed",
                           held_->size));
}

std::vector<std::string> BundleReport::limits() const {
  std::vector<std::string> said;
  if (held == Held::none) {
    said.emplace_back(
        "Without a checkpoint that you kept yourself, nothing shows that the log was not made anew "
        "with spans left out: give one with --checkpoint.");
  }
  if (!from.empty() || !to.empty()) {
    said.emplace_back(
        "That no span of the period lies outside of these leaves is said by the "
        "service and proven by nothing; a bundle without a period has them all.");
  }
  if (!service_key_pinned || !log_key_pinned) {
    said.emplace_back(
        "The keys of service and log are taken from the bundle: compare them with "
        "what the service published, or give them with --service-key and --log-key.");
  }
  said.emplace_back(
      "The times of spans are what their senders said; those of checkpoints are the "
      "log's clock.");
  return said;
}

}  // namespace betrace::kms
