#include "evidence/bundle.h"

#include <algorithm>
#include <array>
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
// Before every time that a checkpoint can say; SystemTime::min() cannot be written.
constexpr SystemTime never_trusted = std::chrono::sys_days(std::chrono::January / 1 / 0);

std::unexpected<Error> malformed(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

std::optional<std::uint64_t> decimal_of(const value& object, std::string_view name) {
  return parse_decimal(text_of(object, name));
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
  return der ? ed25519_of_spki(*der).value_or(Bytes()) : Bytes();
}

// The envelope's own text, as it stands in the document.
std::string json_of(const value& object, std::string_view name) {
  const auto* const found = object.is_object() ? object.get_object().if_contains(name) : nullptr;
  WipedString out;
  if (found != nullptr) append_canonical_json(*found, out);
  return std::string(out);
}

bool is_revoked(const value& key) {
  return text_of(key, "status") == key_status(KeyState::revoked) ||
         key.get_object().contains("revokedAt");
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
  for (const auto& [name, bound] : {std::pair("from", &from_), std::pair("to", &to_)}) {
    *bound = rfc3339_time(text_of(root, name));
    if (!*bound && root.get_object().contains(name)) {
      complain({}, fmt::format("manifest: {} is no time", name));
    }
  }
  for (const auto* const name : {"left", "right", "checkpoints", "keys", "serviceKeys"}) {
    const auto* const list = root.get_object().if_contains(name);
    if (list == nullptr || !list->is_array()) {
      complain({}, fmt::format("manifest: {} is not a list", name));
    }
  }
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
    auto key = public_key_of(each);
    const auto id = KeyId::parse(text_of(each, "keyId"));
    if (key.empty() || !id) {
      complain({}, "manifest: a service key is no Ed25519 key");
    } else if (!is_revoked(each) && !service_keys_.emplace(*id, std::move(key)).second) {
      complain({}, fmt::format("service key {}: it is listed twice", id->str()));
    }
  }
  return {};
}

// The one that signed, where one did.
void BundleVerifier::choose_service_key(std::string_view envelope) {
  for (const auto& [id, key] : service_keys_) {
    if (trust_.service_key && *trust_.service_key != key) continue;
    const bool signed_it = open_envelope(envelope, bundle_type, key).has_value();
    if (!service_key_.empty() && !signed_it) continue;
    service_key_ = key;
    service_key_id_ = id;
    if (signed_it) return;
  }
}

void BundleVerifier::check_service_key(std::string_view head, std::string_view envelope) {
  choose_service_key(envelope);
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
    const bool attested = std::ranges::any_of(service_keys_, [&](const auto& by) {
      return is_attested(each, public_key, report_.tenant, by.second);
    });
    if (!attested) {
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
      key.listed.revoked_at = rfc3339_time(text_of(each, "revokedAt")).value_or(never_trusted);
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
    if (!from_ && !to_ && !all) {
      complain({}, "leaves are left out, though the bundle is of no period");
    }
  }
  for (const auto& each : list_of(root, "checkpoints")) {
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
