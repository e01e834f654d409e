#include "evidence/checkpoint.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::uint8_t ed25519_note = 1;  // C2SP signed-note, signature types
constexpr std::size_t hash_bytes = 4;
constexpr std::string_view signature_mark = "\u2014 ", time_mark = "time ";
constexpr std::size_t note_bytes_max = 64 * 1024, signatures_max = 100;

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::invalid_argument, std::string(what));
}

// Cuts the first line off, without its end. Nothing when there is no line end.
std::optional<std::string_view> take_line(std::string_view& text) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool padded = text.size() > 1 && text.front() == '0';
  if (text.empty() || padded || read.ec != std::errc() || read.ptr != text.data() + text.size())
    return std::nullopt;
  return number;
}

enum class By : std::uint8_t { key, others, nobody };

// Whose signature of `text` a line is. One under the key's name and hash that does not verify is
// nobody's, as what is no signature at all.
By signer_of(std::string_view line, const NoteKey& key, std::string_view text) {
  if (!line.starts_with(signature_mark)) return By::nobody;
  line.remove_prefix(signature_mark.size());
  const auto blank = std::min(line.find(' '), line.size());
  const auto bytes = base64_decode(line.substr(std::min(blank + 1, line.size())));
  if (!bytes || bytes->size() <= hash_bytes) return By::nobody;
  std::uint32_t hash = 0;
  for (std::size_t i = 0; i < hash_bytes; ++i) hash = hash << 8 | (*bytes)[i];
  if (line.substr(0, blank) != key.name || hash != key.hash()) return By::others;
  const auto signature = ByteView(*bytes).subspan(hash_bytes);
  if (signature.size() != SignatureBytes().size()) return By::nobody;
  VerifyJob job{.public_key = key.public_key, .payload = as_bytes(text), .signature = signature};
  sodium_signer().verify({&job, 1});
  return job.valid ? By::key : By::nobody;
}

}  // namespace

std::string Checkpoint::text() const {
  return fmt::format("{}\n{}\n{}\n{}{}\n", origin, size, base64_encode(root), time_mark,
                     rfc3339(time));
}

Result<Checkpoint> Checkpoint::parse(std::string_view text) {
  Checkpoint checkpoint;
  const auto origin = take_line(text);
  if (!origin || origin->empty()) return malformed("checkpoint: line 1 is the log's name");
  checkpoint.origin = *origin;
  const auto size = decimal(take_line(text).value_or(""));
  if (!size) return malformed("checkpoint: line 2 is the size of the tree in decimal");
  checkpoint.size = *size;
  const auto root = base64_decode(take_line(text).value_or(""));
  if (!root || root->size() != checkpoint.root.size()) {
    return malformed("checkpoint: line 3 is the root hash, 32 bytes in base64");
  }
  std::ranges::copy(*root, checkpoint.root.begin());
  bool timed = false;
  while (!text.empty()) {
    const auto line = take_line(text);
    if (!line || line->empty()) return malformed("checkpoint: a line is empty or cut off");
    if (timed || !line->starts_with(time_mark)) continue;
    const auto time = parse_utc_time(line->substr(time_mark.size()));
    if (!time) return malformed("checkpoint: 'time' is not in UTC as RFC 3339 writes it");
    checkpoint.time = *time;
    timed = true;
  }
  if (!timed) return malformed("checkpoint: there is no line 'time'");
  return checkpoint;
}

bool NoteKey::has_valid_name() const {
  return !name.empty() && std::ranges::none_of(name, [](char c) {
    return c == '+' || static_cast<unsigned char>(c) <= ' ';
  });
}

std::uint32_t NoteKey::hash() const {
  const std::array<std::uint8_t, 2> between{'\n', ed25519_note};
  const auto digest = sha256({as_bytes(name), between, public_key});
  return std::uint32_t{digest[0]} << 24 | digest[1] << 16 | digest[2] << 8 | digest[3];
}

std::string NoteKey::text() const {
  Bytes typed{ed25519_note};
  typed.insert(typed.end(), public_key.begin(), public_key.end());
  return fmt::format("{}+{:08x}+{}", name, hash(), base64_encode(typed));
}

Result<NoteKey> NoteKey::parse(std::string_view text) {
  const auto first = text.find('+');
  const auto second = text.find('+', first == std::string_view::npos ? first : first + 1);
  if (second == std::string_view::npos) {
    return malformed("log key: accepted is name+hash+base64");
  }
  const auto typed = base64_decode(text.substr(second + 1));
  if (!typed || typed->size() != 33 || typed->front() != ed25519_note) {
    return malformed("log key: the key is not an Ed25519 key in base64");
  }
  NoteKey key{.name = std::string(text.substr(0, first)),
              .public_key = Bytes(typed->begin() + 1, typed->end())};
  if (!key.has_valid_name()) return malformed("log key: the name is empty or has white space");
  if (fmt::format("{:08x}", key.hash()) != text.substr(first + 1, second - first - 1)) {
    return malformed("log key: the hash is not that of the name and the key");
  }
  return key;
}

std::string signed_note(std::string_view text, const NoteKey& key,
                        const std::function<SignatureBytes(ByteView)>& sign) {
  const auto signature = sign(as_bytes(text));
  const auto hash = key.hash();
  Bytes bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<std::uint8_t>(hash >> shift));
  }
  bytes.insert(bytes.end(), signature.begin(), signature.end());
  return fmt::format("{}\n{}{} {}\n", text, signature_mark, key.name, base64_encode(bytes));
}

Result<std::string> open_note(std::string_view note, const NoteKey& key) {
  if (note.size() > note_bytes_max || !is_valid_utf8(note)) {
    return malformed("note: it is longer than 64 KiB or not UTF-8");
  }
  const auto split = note.rfind("\n\n");
  if (split == std::string_view::npos) return malformed("note: there is no signature");
  const auto text = note.substr(0, split + 1);
  auto signatures = note.substr(split + 2);
  std::size_t count = 0;
  bool is_signed = false;
  while (!signatures.empty()) {
    const auto line = take_line(signatures);
    if (!line || ++count > signatures_max) return malformed("note: the signatures are cut off");
    const auto by = signer_of(*line, key, text);
    if (by == By::nobody) return malformed("note: a signature is wrong");
    is_signed = is_signed || by == By::key;
  }
  if (is_signed) return std::string(text);
  return malformed(fmt::format("note: it has no valid signature by {}", key.name));
}

}  // namespace betrace::kms
