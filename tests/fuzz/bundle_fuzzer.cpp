// Any bytes as a bundle, or as the manifest and the leaves of one that somebody else or the service
// itself has signed, with keys and a checkpoint that the verifier holds or without: nothing crashes
// and every report can be written; what verifies as a whole has the leaves that the log has there,
// every one and no other; and a bundle that anybody but the service has changed does not verify.
#include <random>
#include <sstream>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/canonical_json.h"
#include "base/crypto.h"
#include "base/encoding.h"
#include "base/envelope.h"
#include "base/json_note.h"
#include "evidence/bundle.h"
#include "evidence/bundle_lines.h"
#include "evidence/bundle_report.h"
#include "evidence/span.h"
#include "fuzz.h"

using namespace betrace::kms;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

namespace {

namespace json = boost::json;
using Lines = std::vector<std::string>;

constexpr SystemTime start{std::chrono::seconds(1764200000)};

Lines lines_of(std::string_view text) {
  Lines lines;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = std::min(text.find('\n', at), text.size());
    lines.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

struct Key {
  explicit Key(std::uint8_t seed)
      : id(std::array<std::uint8_t, 16>{seed}),
        secret(ed25519_key_from_seed(SecretBytes::copy_of(Bytes(32, seed)))),
        half(ed25519_public_half(secret).begin(), ed25519_public_half(secret).end()) {}
  SignatureBytes sign(ByteView bytes) const {
    SignJob job{.key = &secret, .payload = bytes};
    sodium_signer().sign({&job, 1});
    return job.signature;
  }
  std::string envelope(std::string_view type, std::string_view payload) const {
    const auto signature = sign(dsse_encode(type, as_bytes(payload)));
    const EnvelopeSignature by{id, signature};
    return dsse_envelope(type, payload, {&by, 1});
  }
  std::string head(std::string_view manifest) const {
    return JsonNote()
        .text("format", bundle_format)
        .raw("manifest", envelope(bundle_type, manifest))
        .str();
  }

  KeyId id;
  SecretBytes secret;
  Bytes half;
};

std::string list_of(const Lines& values) {
  std::string list = "[";
  for (const auto& each : values) list += (list.size() > 1 ? "," : "") + each;
  return list + "]";
}

// A log of seven spans of "acme" by two keys, the first of which was revoked since; bundles of it.
struct World {
  Key service{1}, somebody{2}, old_key{3}, new_key{4}, log{5};
  NoteKey log_key{.name = "log", .public_key = log.half};
  Lines leaves, notes;
  std::vector<Digest> hashes;
  Lines manifests, bundles;

  World() {
    for (int i = 0; i < 7; ++i) {
      leaves.push_back(leaf(i, "acme"));
      hashes.push_back(leaf_hash(as_bytes(leaves.back())));
      if (i % 2 == 1 || i == 6) notes.push_back(note());
    }
    add_bundle(0, 7, JsonNote());
    add_bundle(0, 7, consistency(JsonNote(), 4));
    add_bundle(2, 5, consistency(period(2, 5), 2));
    add_bundle(4, 7, consistency(period(4, 7), 7));
    add_bundle(7, 7, period(9, 10));
  }

  std::string leaf(int number, std::string_view tenant) const {
    const auto object = json::parse(
        fmt::format(R"({{"framework":"soc2","control":"<i>{}","tenantId":"{}",)"
                    R"("timestamp":"{}","outcome":"{}"}})",
                    number % 3, tenant, time_of(number), number % 2 == 0 ? "success" : "failure"));
    const auto frameworks = Frameworks::with({}, Frameworks::Unknown::pass).value();
    const auto span = ComplianceSpan::parse(object.get_object(), frameworks).value();
    const auto& key = number < 3 ? old_key : new_key;
    WipedBytes statement;
    span.write_statement(key.id, statement);
    return std::string(span.signed_json(key.id, key.sign(statement)));
  }
  static std::string time_of(int number) { return rfc3339(start + std::chrono::hours(number)); }
  Result<Digest> node(const TreeNode& at) const {
    if (at.level == 0) return hashes.at(at.index);
    const auto half = [&](std::uint64_t side) {
      return node({.level = at.level - 1, .index = 2 * at.index + side}).value();
    };
    return node_hash(half(0), half(1));
  }
  NodeReader reader() const {
    return [this](const TreeNode& at) { return node(at); };
  }
  std::string note() const {
    const Checkpoint checkpoint{.origin = "log/acme",
                                .size = hashes.size(),
                                .root = root_of(hashes.size(), reader()).value(),
                                .time = start + std::chrono::hours(hashes.size())};
    return signed_note(checkpoint.text(), log_key,
                       [this](ByteView bytes) { return log.sign(bytes); });
  }

  static std::string json_text(std::string_view text) {
    std::string out;
    append_json_string(text, out);
    return out;
  }
  static std::string json_hashes(const std::vector<Digest>& list) {
    Lines texts;
    for (const auto& hash : list) texts.push_back(json_text(base64_encode(hash)));
    return list_of(texts);
  }
  std::string subtrees(std::uint64_t begin, std::uint64_t end) const {
    return json_hashes(hashes_of(whole_subtrees(begin, end), reader()).value());
  }
  std::string key_json(const Key& key, std::string_view status, std::string_view tenant) const {
    JsonNote note;
    note.text("keyId", key.id.str()).text("publicKey", base64_encode(ed25519_spki(key.half)));
    note.text("status", status);
    if (status == "REVOKED") note.text("revokedAt", time_of(5));
    const auto statement = JsonNote()
                               .text("keyId", key.id.str())
                               .text("publicKey", base64_encode(key.half))
                               .text("tenantId", tenant)
                               .str();
    return note.raw("attestation", service.envelope(public_key_type, statement)).str();
  }
  static JsonNote period(int from, int to) {
    return std::move(JsonNote().text("from", time_of(from)).text("to", time_of(to)));
  }
  JsonNote consistency(JsonNote manifest, std::uint64_t first) const {
    const auto proof = consistency_proof(first, leaves.size(), reader()).value();
    return std::move(manifest.raw(
        "consistency",
        JsonNote().text("first", std::to_string(first)).raw("proof", json_hashes(proof)).str()));
  }
  void add_bundle(std::uint64_t begin, std::uint64_t end, JsonNote manifest) {
    Lines checkpoints;
    for (const auto& each : notes) {
      const auto size = Checkpoint::parse(each.substr(0, each.find("\n\n") + 1))->size;
      const bool is_here = size >= begin && size <= end;
      if (is_here || size == leaves.size()) checkpoints.push_back(json_text(each));
    }
    manifest.text("checkpoint", notes.back()).raw("checkpoints", list_of(checkpoints));
    manifest.text("createdAt", time_of(8));
    manifest.text("begin", std::to_string(begin)).text("end", std::to_string(end));
    manifest.raw("keys", list_of({key_json(old_key, "REVOKED", "acme"),
                                  key_json(new_key, "ACTIVE", "acme")}));
    manifest.raw("left", subtrees(0, begin)).raw("right", subtrees(end, leaves.size()));
    manifest.text("logKey", log_key.text());
    manifest.raw("serviceKeys", list_of({key_json(service, "ACTIVE", "_service")}));
    manifests.push_back(manifest.text("tenantId", "acme").str());
    bundles.push_back(service.head(manifests.back()) + "\n");
    auto& with_leaves = manifests.back();
    with_leaves += '\n';
    for (auto i = begin; i < end; ++i) {
      bundles.back() += leaves[i] + "\n";
      with_leaves += leaves[i] + "\n";
    }
  }
};

const World& world() {
  static const World world;
  return world;
}

// --- the target ---------------------------------------------------------------------------------

// How an input is read: its first byte.
enum Form : std::uint8_t { as_it_is = 0, signed_by_somebody = 1, signed_by_the_service = 2 };
constexpr std::uint8_t form_mask = 3, pinned = 4, holding = 8;

std::string bundle_of(Form form, std::string_view text) {
  if (form == as_it_is) return std::string(text);
  const auto manifest = text.substr(0, text.find('\n'));
  const auto& by = form == signed_by_somebody ? world().somebody : world().service;
  return by.head(manifest) + std::string(text.substr(manifest.size()));
}

std::optional<BundleReport> report_on(std::string_view bundle, std::uint8_t flags) {
  std::istringstream file{std::string(bundle)};
  BundleLines reader(file);
  Lines lines;
  for (std::string line; reader.next(line).value();) lines.push_back(line);
  must(lines == lines_of(bundle));
  must(reader.cut_off() == (!bundle.empty() && !bundle.ends_with('\n')));
  if (lines.empty()) return std::nullopt;
  BundleTrust trust;
  if ((flags & pinned) != 0)
    trust = {.service_key = world().service.half, .log_key = world().log_key};
  if ((flags & holding) != 0) trust.held = world().notes[flags >> 4 & 3];
  auto verifier = BundleVerifier::begin(lines.front(), std::move(trust));
  if (!verifier) return std::nullopt;
  lines.erase(lines.begin());
  verifier->add(lines);
  return std::move(*verifier).finish(reader.cut_off());
}

void must_be_written(const BundleReport& report) {
  must(report_text(report).starts_with("VERIFIED") == report.valid());
  json::error_code error;
  const auto written = json::parse(report_json(report), error);
  must(!error && written.at("valid").as_bool() == report.valid());
  must(report_html(report).find("<i>") == std::string::npos);
}

void must_be_true(const BundleReport& report, std::string_view bundle) {
  const auto& leaves = world().leaves;
  auto lines = lines_of(bundle);
  lines.erase(lines.begin());
  must(report.end <= leaves.size() && lines.size() == report.end - report.begin);
  must(std::equal(lines.begin(), lines.end(),
                  leaves.begin() + static_cast<std::ptrdiff_t>(report.begin)));
  must(report.valid_spans == lines.size() && report.checkpoint.size <= leaves.size());
  must(report.held == BundleReport::Held::none || report.held == BundleReport::Held::consistent);
}

const Lines& seeds() {
  static const auto all = [] {
    Lines made;
    for (std::size_t i = 0; i < world().bundles.size(); ++i) {
      for (const std::uint8_t flags : {0, pinned | holding, pinned | holding | 16}) {
        const auto add = [&](Form form, const std::string& text) {
          made.push_back(static_cast<char>(form | flags) + text);
        };
        add(as_it_is, world().bundles[i]);
        add(signed_by_somebody, world().manifests[i]);
        add(signed_by_the_service, world().manifests[i]);
      }
    }
    return made;
  }();
  return all;
}

// --- mutations that keep to the form ------------------------------------------------------------

using Random = std::minstd_rand;

std::string mutated(std::string text, std::size_t more) {
  const auto size = text.size();
  text.resize(size + more);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
  return text;
}

void collect(json::value& from, std::vector<json::value*>& all) {
  all.push_back(&from);
  if (auto* const object = from.if_object()) {
    for (auto& each : *object) collect(each.value(), all);
  } else if (auto* const array = from.if_array()) {
    for (auto& each : *array) collect(each, all);
  }
}

std::string edited_json(const std::string& text, Random& random) {
  json::error_code error;
  auto root = json::parse(text, error);
  if (error) return mutated(text, 64);
  std::vector<json::value*> all;
  collect(root, all);
  const auto any = [&]() -> json::value& { return *all[random() % all.size()]; };
  auto& one = any();
  if (auto* const array = one.if_array();
      array != nullptr && !array->empty() && random() % 2 == 0) {
    const auto at = array->begin() + static_cast<std::ptrdiff_t>(random() % array->size());
    if (random() % 2 == 0) {
      array->erase(at);
    } else {
      array->insert(at, json::value(*at));
    }
  } else if (auto* const object = one.if_object();
             object != nullptr && !object->empty() && random() % 2 == 0) {
    object->erase(object->begin() + static_cast<std::ptrdiff_t>(random() % object->size()));
  } else if (one.is_string() && random() % 2 == 0) {
    one = mutated(std::string(one.get_string()), 16);
  } else if (random() % 2 == 0) {
    one = std::to_string(std::uint64_t{random()} << random() % 34);
  } else {
    one = json::value(any());
  }
  return json::serialize(root);
}

void edit_lines(Lines& lines, Random& random) {
  const auto any = [&] {
    return lines.begin() + static_cast<std::ptrdiff_t>(random() % lines.size());
  };
  switch (random() % 6) {
    case 0:
      std::swap(*any(), *any());
      break;
    case 1:
      lines.erase(any());
      break;
    case 2:
      lines.insert(any(), std::string(*any()));
      break;
    case 3:
      *any() = world().leaf(static_cast<int>(random() % 9), random() % 2 == 0 ? "acme" : "other");
      break;
    default: {
      auto& line = random() % 2 == 0 ? lines.front() : *any();
      line = edited_json(line, random);
    }
  }
}

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max, unsigned seed) {
  Random random(seed);
  std::string text(reinterpret_cast<char*>(data), size);
  // One edit away from what verifies is where a mistake would be.
  if (random() % 3 == 0) text = seeds()[random() % seeds().size()];
  auto lines = text.size() > 1 ? lines_of(std::string_view(text).substr(1)) : Lines();
  if (lines.empty() || random() % 4 == 0) return LLVMFuzzerMutate(data, size, max);
  edit_lines(lines, random);
  text.resize(1);
  for (const auto& line : lines) text += line + "\n";
  if (random() % 8 == 0) text[0] = static_cast<char>(random());
  size = std::min(text.size(), max);
  std::copy_n(text.begin(), size, data);
  return size;
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  for (const auto& bundle : world().bundles) {
    must(report_on(bundle, 0)->valid() && report_on(bundle, pinned)->valid());
  }
  plant(*argc, *argv, seeds());
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  const auto flags = in.byte();
  const auto form = static_cast<Form>((flags & form_mask) % 3);
  const auto bundle = bundle_of(form, in.rest);
  const auto report = report_on(bundle, flags);
  if (!report) return 0;
  must_be_written(*report);
  if (!report->valid()) return 0;
  must(form != signed_by_somebody || (flags & pinned) == 0);
  must(form != as_it_is || std::ranges::find(world().bundles, bundle) != world().bundles.end());
  must_be_true(*report, bundle);
  return 0;
}
