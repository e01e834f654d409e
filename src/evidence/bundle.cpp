#include "evidence/bundle.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

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

constexpr std::size_t problems_max = 100;
constexpr std::uint64_t size_max = 999'999'999'999'999'999;  // of a log: 18 digits
// Before every time that a checkpoint can say; SystemTime::min() cannot be written.
constexpr SystemTime never_trusted = std::chrono::sys_days(std::chrono::January / 1 / 0);

std::unexpected<Error> malformed(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

std::optional<std::uint64_t> decimal_of(const value& object, std::string_view name) {
  const auto number = parse_decimal(text_of(object, name));
  return number && *number <= size_max ? number : std::nullopt;
}

// A time of the service's own is in UTC, to the millisecond.
std::optional<SystemTime> own_time(std::string_view text) {
  const auto time = parse_utc_time(text);
  return time && rfc3339(*time) == text ? time : std::nullopt;
}

// Nothing when it is no list, or not there.
const boost::json::array* list_of(const value& object, std::string_view name) {
  const auto* const found = object.is_object() ? object.get_object().if_contains(name) : nullptr;
  return found != nullptr ? found->if_array() : nullptr;
}

std::optional<std::vector<Digest>> hashes_of(const value& object, std::string_view name) {
  const auto* const list = list_of(object, name);
  if (list == nullptr) return std::nullopt;
  std::vector<Digest> hashes;
  for (const auto& each : *list) {
    const auto bytes = each.is_string() ? base64_decode(each.get_string()) : std::nullopt;
    if (!bytes || bytes->size() != sizeof(Digest)) return std::nullopt;
    std::ranges::copy(*bytes, hashes.emplace_back().begin());
  }
  return hashes;
}

// The 32 bytes of a SubjectPublicKeyInfo in base64; empty when it is none.
Bytes public_key_of(const value& key) {
  const auto der = base64_decode(text_of(key, "publicKey"));
  return der ? ed25519_of_spki(*der).value_or(Bytes()) : Bytes();
}

// The envelope's own text, as it stands in the document.
std::string json_of(const value& object, std::string_view name) {
  const auto* const found = object.is_object() ? object.get_object().if_contains(name) : nullptr;
  WipedString out;
  if (found != nullptr) append_canonical_json(*found, out);
  return std::string(out);
}

std::optional<KeyId> key_id_of(const value& key) {
  const auto text = text_of(key, "keyId");
  const auto id = KeyId::parse(text);
  return id && id->str() == text ? std::optional(*id) : std::nullopt;
}

// The payload of an envelope by one of `keys`, written in the one way the service writes it: no
// signature covers the rest of it.
Result<OpenedEnvelope> open_own(const std::string& envelope, std::string_view type,
                                const std::map<KeyId, Bytes>& keys) {
  JsonDocument document;
  if (!document.parse(envelope)) return malformed("it is missing");
  const auto* const signatures = list_of(document.root(), "signatures");
  if (signatures == nullptr || signatures->size() != 1)
    return malformed("it has not one signature");
  const auto id = KeyId::parse(text_of(signatures->front(), "keyid"));
  const auto signature = base64_decode(text_of(signatures->front(), "sig"));
  const auto key = id ? keys.find(*id) : keys.end();
  if (key == keys.end() || !signature) return malformed("it is not by a key of the service");
  auto opened = TRY(open_envelope(envelope, type, key->second));
  const EnvelopeSignature by_service{*id, *signature};
  if (dsse_envelope(type, opened.payload, {&by_service, 1}) == envelope) return opened;
  return malformed("it is not written as the service writes it");
}

bool is_attested(const value& key, const Bytes& public_key, const std::string& tenant,
                 const std::map<KeyId, Bytes>& service_keys) {
  const auto opened = open_own(json_of(key, "attestation"), public_key_type, service_keys);
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

bool is_revoked(const value& key) {
  return text_of(key, "status") == key_status(KeyState::revoked);
}

// What is wrong with what a key says of its status; empty: nothing. It says when it was revoked,
// and only then.
std::string fault_of_status(const value& key) {
  const auto status = text_of(key, "status");
  const bool says_when = key.get_object().contains("revokedAt");
  if (is_known(status) && says_when == is_revoked(key) &&
      (!says_when || own_time(text_of(key, "revokedAt")))) {
    return {};
  }
  return fmt::format(
      "its status is '{}'{}", status,
      says_when ? fmt::format(", and it was revoked at '{}'", text_of(key, "revokedAt")) : "");
}

Result<Checkpoint> open_checkpoint(std::string_view note, const NoteKey& key,
                                   std::string_view tenant) {
  const auto text = TRY(open_note(note, key));
  auto checkpoint = TRY(Checkpoint::parse(text));
  if (checkpoint.text() != text || checkpoint.size > size_max) {
    return malformed("it is not written as the service writes it");
  }
  if (checkpoint.origin == fmt::format("{}/{}", key.name, tenant)) return checkpoint;
  return malformed(fmt::format("it is of another log, '{}'", checkpoint.origin));
}

}  // namespace

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
  verifier.read_service_keys(as_text(*payload), head, envelope);
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
  if (!TenantId::parse(report_.tenant)) complain({}, "manifest: tenantId is not a tenant's name");
  report_.created_at = text_of(root, "createdAt");
  read_period("from", root, report_.from, from_);
  read_period("to", root, report_.to, to_);
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
  if (const auto* const said = root.get_object().if_contains("consistency")) {
    const auto first = decimal_of(*said, "first");
    auto proof = hashes_of(*said, "proof");
    if (!first || !proof) return malformed("manifest: consistency is no size and proof");
    consistency_.emplace(*first, *std::move(proof));
  }
  return {};
}

void BundleVerifier::read_period(std::string_view name, const value& manifest, std::string& text,
                                 std::optional<SystemTime>& time) {
  if (!manifest.get_object().contains(name)) return;
  text = text_of(manifest, name);
  time = own_time(text);
  if (!time) complain({}, fmt::format("manifest: '{}' is no time as the service writes it", name));
}

// And by which of them the manifest is.
void BundleVerifier::read_service_keys(std::string_view manifest, std::string_view head,
                                       const std::string& envelope) {
  JsonDocument document;
  if (!document.parse(manifest)) return;
  std::set<KeyId> listed;
  for (const auto& each : list_or_none(document.root(), "serviceKeys")) {
    const auto id = key_id_of(each);
    const auto key = public_key_of(each);
    if (!id || key.empty()) {
      complain({}, fmt::format("service key {}: it is no Ed25519 key", text_of(each, "keyId")));
      continue;
    }
    if (const auto fault = fault_of_status(each); !fault.empty()) {
      complain({}, fmt::format("service key {}: {}", id->str(), fault));
    }
    if (!listed.insert(*id).second) {
      complain({}, fmt::format("service key {}: it is listed twice", id->str()));
    }
    if (!is_revoked(each)) service_keys_.emplace(*id, key);
  }
  Bytes signer;
  if (const auto opened = open_own(envelope, bundle_type, service_keys_)) {
    signer = service_keys_.at(opened->signed_by);
  } else {
    complain({}, "manifest: " + opened.error().message);
  }
  // What no signature covers is written in one way alone.
  if (head != JsonNote().text("format", bundle_format).raw("manifest", envelope).str()) {
    complain({}, "the first line is not written as the service writes it");
  }
  compare_pins(signer);
}

void BundleVerifier::compare_pins(const Bytes& signer) {
  report_.service_key = base64_encode(ed25519_spki(signer));
  report_.log_key = log_key_.text();
  report_.service_key_pinned = trust_.service_key == signer;
  report_.log_key_pinned = trust_.log_key == log_key_;
  if (trust_.service_key && !report_.service_key_pinned) {
    complain({}, "the service's key is not the one that you gave");
  }
  if (trust_.log_key && !report_.log_key_pinned) {
    complain({}, "the log's key is not the one that you gave: " + report_.log_key);
    log_key_ = *trust_.log_key;
  }
}

// An empty list, and a complaint, where the manifest has none.
const boost::json::array& BundleVerifier::list_or_none(const value& manifest,
                                                       std::string_view name) {
  static const boost::json::array none;
  if (const auto* const list = list_of(manifest, name)) return *list;
  complain({}, fmt::format("manifest: '{}' is no list", name));
  return none;
}

void BundleVerifier::read_keys(std::string_view manifest) {
  JsonDocument document;
  if (!document.parse(manifest)) return;
  for (const auto& each : list_or_none(document.root(), "keys")) {
    const auto id = key_id_of(each);
    auto public_key = public_key_of(each);
    if (!id || public_key.empty()) {
      complain({}, fmt::format("key {}: it is no Ed25519 key", text_of(each, "keyId")));
      continue;
    }
    if (!is_attested(each, public_key, report_.tenant, service_keys_)) {
      complain({}, fmt::format("key {}: the service does not vouch for it", id->str()));
      continue;
    }
    if (const auto fault = fault_of_status(each); !fault.empty()) {
      complain({}, fmt::format("key {}: {}", id->str(), fault));
    }
    Key key{.listed = {.id = *id, .status = text_of(each, "status")},
            .public_key = std::move(public_key)};
    if (is_revoked(each)) {
      // One that says nothing of the time was never to be trusted.
      key.listed.revoked_at = own_time(text_of(each, "revokedAt")).value_or(never_trusted);
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
  for (const auto& each : list_or_none(root, "checkpoints")) {
    const auto older = open(each.is_string() ? std::string(each.get_string()) : "", "checkpoints");
    if (!older) continue;
    const auto& newest = report_.checkpoint;
    const bool in_range = older->size >= report_.begin && older->size <= report_.end;
    if (!in_range && older->size != newest.size) {
      complain({},
               fmt::format("a checkpoint of {} leaves cannot be compared: they are not all here",
                           older->size));
    } else if (older->size == newest.size && older->root != newest.root) {
      complain({}, fmt::format("two checkpoints of {} leaves are of two logs", newest.size));
    } else {
      checkpoints_.push_back(*older);
    }
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
    complain({}, fmt::format("leaves are missing: there are {}, and the manifest says {}", lines_,
                             leaves_expected()));
    return forget_logged();
  }
  meet_checkpoints();
  const auto nodes = whole_subtrees(report_.end, report_.checkpoint.size);
  bool fits = nodes.size() == right_.size();
  for (std::size_t i = 0; fits && i < nodes.size(); ++i) {
    fits = tree_.add_subtree(nodes[i].level, right_[i]);
  }
  if (fits && tree_.root() == report_.checkpoint.root) return;
  forget_logged();
  complain({},
           "the leaves are not those that the checkpoint was made over: some were changed, "
           "dropped, inserted or reordered, or left and right are another log's");
}

// Nothing stands for the spans without a signature.
void BundleVerifier::forget_logged() {
  report_.valid_spans -= std::exchange(report_.logged_spans, 0);
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
  // The log had these leaves, and later had fewer.
  if (held_->size > report_.checkpoint.size && held_->time < report_.checkpoint.time) {
    report_.held = Held::contradicted;
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
  if (logged_spans > 0) {
    said.push_back(fmt::format(
        "{} spans have no signature of the tenant's: that the log has them, by the log's key, "
        "stands for it (betrace.otlp.signing=log).",
        logged_spans));
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
