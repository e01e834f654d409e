// What a log says of itself: a checkpoint (C2SP tlog-checkpoint) in a signed note (C2SP
// signed-note, Ed25519), text that any verifier of transparency logs reads. Values.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/clock.h"
#include "betrace/kms/key.h"
#include "betrace/kms/result.h"
#include "betrace/kms/signer.h"

#include "evidence/merkle.h"

namespace betrace::kms {

struct Checkpoint {
  std::string origin;  // the log's name: no line end, not empty
  std::uint64_t size = 0;
  Digest root{};
  // When the log signed it, by its own clock: an extension line "time 2026-11-27T01:00:00.000Z".
  SystemTime time;

  // The note's text, of four lines.
  std::string text() const;
  // Errors: invalid_argument, naming the line. Further extension lines are let through.
  static Result<Checkpoint> parse(std::string_view text);
  bool operator==(const Checkpoint&) const = default;
};

// The public half of a note's key, "name+hash+base64" (C2SP signed-note: a verifier key).
struct NoteKey {
  std::string name;  // no white space, no '+', not empty
  Bytes public_key;  // Ed25519, 32 bytes

  bool has_valid_name() const;
  std::uint32_t hash() const;
  std::string text() const;
  // Errors: invalid_argument; also when the hash is not that of the name and the key.
  static Result<NoteKey> parse(std::string_view text);
  bool operator==(const NoteKey&) const = default;
};

// `text` ends with a line end and holds no empty line at its end.
std::string signed_note(std::string_view text, const NoteKey& key,
                        const std::function<SignatureBytes(ByteView)>& sign);
// The text of the note when one of its signatures is by `key` and right; others are passed over.
// Errors: invalid_argument, saying what is wrong.
Result<std::string> open_note(std::string_view note, const NoteKey& key);

}  // namespace betrace::kms
