// Any bytes as the key of a log or of the service, as a checkpoint, as a signed note and as edits
// of a proof: nothing crashes; a key is written as it was read, and a checkpoint means the same; a
// note opens under the key that signed its text and no other; a proof verifies when it is the one
// that the tree gives.
#include <map>
#include <set>

#include "base/crypto.h"
#include "base/encoding.h"
#include "evidence/checkpoint.h"
#include "evidence/merkle.h"
#include "fuzz.h"
#include "support/signed_note.h"

using namespace betrace::kms;
using namespace std::literals;

namespace {

// --- keys, checkpoints, notes -------------------------------------------------------------------

struct World {
  std::vector<NoteKey> keys;
  std::map<Bytes, std::set<std::string>> signed_by;  // public key: all texts it ever signed
  std::vector<std::string> notes;

  World() {
    keys.push_back(NoteKey::parse(their_key).value());
    const std::string theirs(their_note);
    signed_by[keys.back().public_key] = {theirs.substr(0, theirs.find("\n\n") + 1)};
    notes.push_back(theirs);
    for (const std::uint8_t seed : {7, 8}) {
      const auto secret = ed25519_key_from_seed(SecretBytes::copy_of(Bytes(32, seed)));
      const auto half = ed25519_public_half(secret);
      keys.push_back({.name = "log.example/acme", .public_key = {half.begin(), half.end()}});
      for (const std::uint64_t size : {0UL, 37UL, ~0UL}) {
        const Checkpoint checkpoint{.origin = "log.example/acme",
                                    .size = size,
                                    .root = empty_root(),
                                    .time = SystemTime(std::chrono::seconds(1764200000))};
        notes.push_back(note(checkpoint.text(), secret));
        notes.push_back(note(checkpoint.text() + "extension\n", secret));
      }
      notes.push_back(note("hello\n\nworld\n", secret));
      // Cosigned: the signatures of both, one after the other.
      notes.push_back(notes.back() + notes[1].substr(notes[1].find("\n\n") + 2));
    }
  }
  std::string note(const std::string& text, const SecretBytes& secret) {
    signed_by[keys.back().public_key].insert(text);
    return signed_note(text, keys.back(), [&](ByteView bytes) {
      SignJob job{.key = &secret, .payload = bytes};
      sodium_signer().sign({&job, 1});
      return job.signature;
    });
  }
};

const World& world() {
  static const World world;
  return world;
}

void read_key(std::string_view text) {
  const auto key = NoteKey::parse(text);
  if (key) must(key->text() == text);
  if (const auto raw = parse_ed25519_public(text)) {
    must(raw->size() == 32 && parse_ed25519_public(base64_encode(ed25519_spki(*raw))) == raw);
  }
}

void read_checkpoint(std::string_view text) {
  const auto read = Checkpoint::parse(text);
  if (!read) return;
  const auto written = read->text();
  constexpr SystemTime years_end = std::chrono::sys_days(std::chrono::January / 1 / 10000);
  if (read->time >= years_end) return;  // a leap second on the last day that RFC 3339 can say
  const auto again = Checkpoint::parse(written);
  must(again && *again == *read);
  // The time has more forms than one, and further lines may follow.
  must(text.starts_with(written.substr(0, written.rfind("\ntime ") + 1)));
  const bool leap_second = text.substr(text.size() - "60.000Z\n"s.size()).starts_with("60");
  const bool another_form = text.size() != written.size() || leap_second;
  must(another_form || std::ranges::count(text, '\n') != 4 || text == written);
}

void open_with(std::string_view note, const NoteKey& key) {
  const auto opened = open_note(note, key);
  if (!opened) return;
  const auto by = world().signed_by.find(key.public_key);
  must(by != world().signed_by.end() && by->second.contains(*opened));
  must(note.starts_with(*opened));
}

void read_note(std::string_view note) {
  for (const auto& key : world().keys) open_with(note, key);
}

void read_note_with_key(std::string_view text) {
  const auto line = text.substr(0, text.find('\n'));
  const auto key = NoteKey::parse(line);
  if (key) open_with(text.substr(std::min(text.size(), line.size() + 1)), *key);
}

// --- proofs -------------------------------------------------------------------------------------

constexpr std::uint64_t leaves_max = 128;
constexpr int edits_max = 16;

using Hashes = std::vector<Digest>;

// Of 128 leaves, by level.
const std::vector<Hashes>& nodes() {
  static const auto all = [] {
    std::vector<Hashes> levels(1);
    for (std::uint8_t i = 0; i < leaves_max; ++i) levels[0].push_back(leaf_hash({&i, 1}));
    while (levels.back().size() > 1) {
      const auto below = levels.back();
      auto& level = levels.emplace_back();
      for (std::size_t i = 0; i < below.size(); i += 2) {
        level.push_back(node_hash(below[i], below[i + 1]));
      }
    }
    return levels;
  }();
  return all;
}

Result<Digest> node_at(const TreeNode& node) { return nodes().at(node.level).at(node.index); }

struct Proof {
  std::uint64_t at = 0;  // the leaf's index, or the size of the older tree
  Digest of{};           // the leaf's hash, or the older tree's
  Hashes hashes;
  bool operator==(const Proof&) const = default;
};

void edit(Proof& proof, Input& in) {
  const auto op = in.byte(), place = in.byte(), what = in.byte();
  const auto& level = nodes()[what % nodes().size()];
  const auto& other = level[place % level.size()];
  auto& hashes = proof.hashes;
  const auto where = hashes.begin() + (hashes.empty() ? 0 : op / 8 % hashes.size());
  const auto flip = [&](Digest& hash) {
    hash[what % 32] ^= static_cast<std::uint8_t>(1 << place % 8);
  };
  switch (op % 8) {
    case 0:
      return flip(proof.of);
    case 1:
      proof.of = other;
      break;
    case 2:
      proof.of = root_of(what % (leaves_max + 1), node_at).value();
      break;
    case 3:
      proof.at = in.number<std::uint64_t>();
      break;
    case 4:
      proof.at = what;
      break;
    case 5:
      hashes.insert(where, other);
      break;
    case 6:
      if (!hashes.empty()) hashes.erase(where);
      break;
    default:
      if (!hashes.empty()) flip(*where);
  }
}

void prove_inclusion(Input in) {
  const auto size = 1 + in.byte() % leaves_max, index = in.byte() % size;
  const auto root = root_of(size, node_at).value();
  const auto true_one = [&](std::uint64_t at) {
    return Proof{
        .at = at, .of = nodes()[0].at(at), .hashes = inclusion_proof(at, size, node_at).value()};
  };
  auto proof = true_one(index);
  must(verify_inclusion(proof.at, size, proof.of, proof.hashes, root));
  for (int edits = 0; edits < edits_max && !in.rest.empty(); ++edits) {
    edit(proof, in);
    const bool right = proof.at < size && proof == true_one(proof.at);
    must(verify_inclusion(proof.at, size, proof.of, proof.hashes, root) == right);
    must(inclusion_proof(proof.at, size, node_at).has_value() == (proof.at < size));
  }
}

void prove_consistency(Input in) {
  const auto size = 1 + in.byte() % leaves_max, first = in.byte() % (size + 1);
  const auto root = root_of(size, node_at).value();
  const auto true_one = [&](std::uint64_t at) {
    return Proof{.at = at,
                 .of = root_of(at, node_at).value(),
                 .hashes = consistency_proof(at, size, node_at).value()};
  };
  auto proof = true_one(first);
  must(verify_consistency(proof.at, proof.of, size, root, proof.hashes));
  for (int edits = 0; edits < edits_max && !in.rest.empty(); ++edits) {
    edit(proof, in);
    const bool right = proof.at <= size && proof == true_one(proof.at);
    must(verify_consistency(proof.at, proof.of, size, root, proof.hashes) == right);
    must(consistency_proof(proof.at, size, node_at).has_value() == (proof.at <= size));
  }
}

// Numbers and hashes that are of no tree.
void take_any_proof(Input in) {
  const auto hash = [&] {
    Digest read{};
    std::ranges::copy(in.take(read.size()), read.begin());
    return read;
  };
  const auto at = in.number<std::uint64_t>(), size = in.number<std::uint64_t>();
  const auto of = hash(), root = hash();
  Hashes hashes;
  while (!in.rest.empty()) hashes.push_back(hash());
  (void)verify_inclusion(at, size, of, hashes, root);
  (void)verify_consistency(at, of, size, root, hashes);
  auto tree = GrowingTree::resume(at, hashes);
  if (tree && tree->add_subtree(static_cast<unsigned>(size), of)) must(tree->size() > at);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::vector<std::string> seeds;
  for (const auto& key : world().keys) {
    seeds.push_back('\0' + key.text());
    seeds.push_back('\3' + key.text() + "\n" + world().notes.front());
    const auto spki = base64_encode(ed25519_spki(key.public_key));
    seeds.push_back('\0' + spki);
    seeds.push_back("\0-----BEGIN PUBLIC KEY-----\n"s + spki + "\n-----END PUBLIC KEY-----\n");
  }
  for (const auto& note : world().notes) {
    seeds.push_back('\1' + note.substr(0, note.rfind("\n\n") + 1));
    seeds.push_back('\2' + note);
  }
  for (const auto* form : {"\4", "\5"}) {
    for (const auto* at : {"\x05\x02", "\x40\x10", "\x7f\x40"}) {
      seeds.push_back(std::string(form) + at + "\2\3\4" + "\1\1\1");
    }
  }
  seeds.push_back('\6' + std::string(200, '\1'));
  plant(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  switch (in.byte() % 7) {
    case 0:
      read_key(in.rest);
      break;
    case 1:
      read_checkpoint(in.rest);
      break;
    case 2:
      read_note(in.rest);
      break;
    case 3:
      read_note_with_key(in.rest);
      break;
    case 4:
      prove_inclusion(in);
      break;
    case 5:
      prove_consistency(in);
      break;
    default:
      take_any_proof(in);
  }
  return 0;
}
