// Verifies an auditor's bundle (docs/evidence-format.md) line by line, with nothing but what the
// auditor has: no store, no network, memory that does not grow with the bundle. Not synchronised;
// signatures are verified on all cores.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "betrace/kms/clock.h"
#include "betrace/kms/key.h"
#include "betrace/kms/result.h"

#include "evidence/checkpoint.h"
#include "evidence/merkle.h"
#include "evidence/span.h"

namespace betrace::kms {

inline constexpr std::string_view bundle_type = "application/vnd.betrace.evidence-bundle.v1+json";
// How the head of a bundle says what it is.
inline constexpr std::string_view bundle_format = "betrace-evidence-bundle/1";

// What the verifier knows from elsewhere.
struct BundleTrust {
  std::optional<Bytes> service_key;  // Ed25519, 32 bytes
  std::optional<NoteKey> log_key;
  std::string held;  // a checkpoint, a signed note; empty: none
};

struct BundleKey {
  KeyId id;
  std::string status;
  std::optional<SystemTime> revoked_at;
  std::uint64_t spans = 0;  // by it that verified
};

struct BundleReport {
  struct Problem {
    std::optional<std::uint64_t> leaf;  // index in the log; of the whole bundle without
    std::string message;
  };
  struct Outcomes {
    std::uint64_t success = 0, failure = 0, other = 0;
    std::uint64_t all() const { return success + failure + other; }
  };
  enum class Held : std::uint8_t { none, consistent, contradicted, unproven };

  std::string tenant, created_at, from, to;
  std::uint64_t begin = 0, end = 0;
  Checkpoint checkpoint;
  std::vector<BundleKey> keys;
  std::string service_key, log_key;  // base64, and name+hash+base64
  bool service_key_pinned = false, log_key_pinned = false;
  Held held = Held::none;
  std::uint64_t held_size = 0;

  std::uint64_t spans = 0, valid_spans = 0, outside_period = 0;
  std::uint64_t logged_spans = 0;                                      // without a signature, valid
  std::string first_time, last_time;                                   // of spans
  std::map<std::pair<std::string, std::string>, Outcomes> by_control;  // framework, control
  std::map<std::string, std::uint64_t> by_day;                         // "2026-11-27"
  std::uint64_t problem_count = 0;
  std::vector<Problem> problems;  // the first hundred

  bool valid() const { return problem_count == 0; }
  // What the bundle cannot show, a sentence each.
  std::vector<std::string> limits() const;
};

class BundleVerifier {
 public:
  // From the first line. Errors: invalid_argument when it is no bundle at all, so that there is
  // nothing to report on.
  static Result<BundleVerifier> begin(std::string_view head, BundleTrust trust);

  // Further lines, without their ends; some thousands at a time keep all cores busy.
  void add(const std::vector<std::string>& lines);
  std::uint64_t leaves_expected() const { return report_.end - report_.begin; }
  // `cut_off`: the last line had no end.
  BundleReport finish(bool cut_off) &&;

 private:
  struct Key {
    BundleKey listed;
    Bytes public_key;
  };
  struct Checked;

  Status read(std::string_view manifest);
  void read_keys(std::string_view manifest);
  void read_checkpoints(std::string_view manifest);
  void read_period(std::string_view name, const boost::json::value& manifest, std::string& text,
                   std::optional<SystemTime>& time);
  void read_service_keys(std::string_view manifest, std::string_view head,
                         const std::string& envelope);
  void compare_pins(const Bytes& signer);
  const boost::json::array& list_or_none(const boost::json::value& manifest, std::string_view name);
  void complain(std::optional<std::uint64_t> leaf, std::string message);
  Checked check(std::string_view line, std::uint64_t index) const;
  std::string fault_of(const SignedSpan& span, std::uint64_t index) const;
  void count(const Checked& checked);
  void meet_checkpoints();
  void check_end();
  void forget_logged();
  void check_held();

  BundleTrust trust_;
  BundleReport report_;
  std::map<KeyId, Bytes> service_keys_;  // those that are not revoked
  NoteKey log_key_;
  std::map<KeyId, Key> keys_;
  // By framework and control in their one form: as they are spelt in the first leaf.
  std::map<std::pair<std::string, std::string>, std::pair<std::string, std::string>> spelling_;
  std::vector<Checkpoint> checkpoints_;  // by size
  std::size_t next_checkpoint_ = 0;
  std::optional<Checkpoint> held_;
  std::optional<std::pair<std::uint64_t, std::vector<Digest>>> consistency_;
  std::vector<Digest> right_;
  std::optional<SystemTime> from_, to_;
  GrowingTree tree_;
  std::uint64_t lines_ = 0;
};

}  // namespace betrace::kms
