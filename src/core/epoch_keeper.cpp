#include "core/epoch_keeper.h"

#include <limits>

#include "base/try.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::string_view counter = "epoch";
constexpr std::size_t old_notes_max = 100;

}  // namespace

Status EpochKeeper::advance(const CallContext& call) {
  const auto known = parts_.service_key.public_half(call);
  if (!known && known.error().code == ErrorCode::key_not_found) return {};
  if (!known) return std::unexpected(known.error());
  const std::lock_guard sealing(sealing_);
  return write_down(call);
}

// The number is reserved before it is written, so that two daemons never seal one number twice; the
// older notes go only with the commit of a newer one, so that the newest is always there.
Status EpochKeeper::write_down(const CallContext& call) {
  const auto key = TRY(parts_.service_key.get(call));
  const auto generation = TRY(parts_.store.generation(call));
  const auto number =
      TRY(parts_.store.reserve(call, counter, 1, std::numeric_limits<std::int64_t>::max())) + 1;
  const auto sealed = seal_epoch(
      *key, {.number = number, .generation = generation, .sealed_at = parts_.clock.now()});
  Commit commit{change::Note{.name = epoch_note_name(number), .text = sealed.envelope}};
  for (auto& [name, text] : TRY(parts_.store.list_notes(call, epoch_prefix, "", old_notes_max))) {
    if (name < epoch_note_name(number)) {
      commit.emplace_back(change::Note{.name = std::move(name), .text = {}});
    }
  }
  TRY(parts_.store.commit(call, commit));
  TRY(parts_.witness.raise_mark(sealed, TRY(parts_.service_key.public_half(call)).bytes));
  sealed_generation_ = generation;
  return {};
}

Status EpochKeeper::keep() {
  const auto call = CallContext::system("epoch");
  const auto generation = TRY(parts_.store.generation(call));
  if (generation == sealed_generation_) return {};
  const auto half = parts_.service_key.public_half(call);
  if (!half && half.error().code == ErrorCode::key_not_found) return {};
  if (!half) return std::unexpected(half.error());
  if (const auto envelope = TRY(find_epoch(call, parts_.store))) {
    const auto newest = TRY(open_epoch(*envelope, half->bytes));
    if (newest.epoch.generation == generation) {
      TRY(parts_.witness.raise_mark(newest, half->bytes));
      sealed_generation_ = generation;
      return {};
    }
  }
  return advance(call);
}

void EpochKeeper::try_advance(const CallContext& call) {
  if (const auto done = advance(call); !done) {
    logger(log_category::kms)
        .warn(
            "the store's epoch was not moved on; until it is, an older copy of the store could "
            "take this one's place unnoticed: {}",
            done.error().message);
  }
}

}  // namespace betrace::kms
