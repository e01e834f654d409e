// The destruction of a tenant, step by step.
#include <fmt/format.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/envelope.h"
#include "base/try.h"
#include "core/lifecycle.h"
#include "core/run_on.h"
#include "core/succession.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

constexpr std::size_t resumed_at_once_max = 100;
// A store may take seconds over one attempt; who asked is waiting.
constexpr std::chrono::seconds scrub_patience{3};
constexpr std::chrono::milliseconds scrub_pause{50};

std::string note_name(std::string_view prefix, const TenantId& tenant) {
  return std::string(prefix) + tenant.str();
}

Result<std::optional<DestructionNote>> find_destruction(KeyStore& store, const CallContext& call,
                                                        std::string_view prefix,
                                                        const TenantId& tenant) {
  const auto text = TRY(store.find_note(call, note_name(prefix, tenant)));
  if (!text) return std::nullopt;
  return TRY(parse_destruction_note(*text));
}

}  // namespace

void Lifecycle::destroy_tenant(CallContext call, TenantId tenant, Done<Destruction> done) {
  run_on<DestructionNote>(
      parts_.provider_threads,
      [this, call, done = std::move(done)](Result<DestructionNote> note) mutable {
        if (!note) return done(std::unexpected(std::move(note).error()));
        finish_when_applied(call, *std::move(note), std::move(done));
      },
      [this, call, tenant = std::move(tenant)] { return close(call, tenant); });
}

void Lifecycle::finish_when_applied(CallContext call, DestructionNote note,
                                    Done<Destruction> done) {
  parts_.membership.when_applied(
      call, [this, call, note = std::move(note), done = std::move(done)](Status applied) mutable {
        if (!applied) return done(std::unexpected(std::move(applied).error()));
        run_on<Destruction>(parts_.provider_threads, std::move(done),
                            [this, call, note = std::move(note)]() mutable -> Result<Destruction> {
                              return to_destruction(TRY(finish(call, std::move(note))));
                            });
      });
}

// From here on no daemon that is alive uses the tenant's keys, and whoever comes after a crash
// knows what to do.
Result<DestructionNote> Lifecycle::close(const CallContext& call, const TenantId& tenant) {
  TRY(parts_.store.find_tenant(call, tenant));
  for (const auto prefix : {destroyed_prefix, destroying_prefix}) {
    if (auto note = TRY(find_destruction(parts_.store, call, prefix, tenant))) {
      return *std::move(note);
    }
  }
  DestructionNote note{.tenant = tenant, .requested_at = parts_.clock.now()};
  if (const auto probe = parts_.keys.seal_probe(call, tenant)) {
    note.probe = base64_encode(*probe);
    const auto opened = parts_.keys.open_probe(call, tenant, *probe);
    note.probe_before = opened ? "opened" : "failed: " + opened.error().message;
  } else {
    note.probe_before = "not made: " + probe.error().message;
  }
  TRY(parts_.store.commit(call, {change::CloseTenant{tenant}, written(destroying_prefix, note)}));
  parts_.keys.withdraw(tenant);
  return note;
}

// What cannot be had yet leaves the note as it is; resume() comes back to it.
Result<DestructionNote> Lifecycle::finish(const CallContext& call, DestructionNote note) {
  if (auto known = TRY(find_destruction(parts_.store, call, destroyed_prefix, note.tenant))) {
    note = *std::move(known);
  }
  if (!note.is_destroyed()) TRY(destroy_secrets(call, note));
  auto& log = logger(log_category::rotation);
  if (note.certificate.empty()) {
    if (const auto done = certify(call, note); !done) {
      log.warn("the destruction of tenant {} is not certified yet: {}", note.tenant.str(),
               done.error().message);
    }
  }
  if (!note.scrubbed) {
    const auto scrubbed = scrub(call);
    note.scrubbed = scrubbed.has_value();
    if (!scrubbed) {
      log.warn("the store's files may still hold deleted keys of tenant {}: {}", note.tenant.str(),
               scrubbed.error().message);
    }
  }
  if (!note.certificate.empty() && !note.buried) {
    const auto buried = parts_.witness.bury(note.certificate);
    note.buried = buried.has_value();
    if (!buried) {
      log.warn("the tombstone of tenant {} is not written yet: {}", note.tenant.str(),
               buried.error().message);
    }
  }
  Commit commit{written(destroyed_prefix, note)};
  if (note.is_complete()) {
    commit.emplace_back(
        change::Note{.name = note_name(destroying_prefix, note.tenant), .text = {}});
  } else {
    commit.emplace_back(written(destroying_prefix, note));
  }
  TRY(parts_.store.commit(call, commit));
  parts_.epochs.try_advance(call);
  return note;
}

Status Lifecycle::destroy_secrets(const CallContext& call, DestructionNote& note) {
  const auto keys = TRY(parts_.store.list_keys(call, note.tenant));
  const auto commit = destruction_commit(note, keys, parts_.clock.now());
  const auto done = parts_.store.commit(call, commit);
  if (!done) {
    // Another daemon may have been first; what it wrote is what happened.
    auto other = find_destruction(parts_.store, call, destroyed_prefix, note.tenant);
    if (!other || !*other) return done;
    note = **std::move(other);
    return {};
  }
  parts_.keys.withdraw(note.tenant);
  logger(log_category::rotation)
      .warn("Destroyed all keys of tenant {}: {} versions", note.tenant.str(),
            note.versions.size());
  return {};
}

Status Lifecycle::certify(const CallContext& call, DestructionNote& note) {
  if (note.probe.empty()) {
    note.probe_after = "not tried";
  } else {
    const auto probe = base64_decode(note.probe).value_or(WipedBytes());
    const auto opened = parts_.keys.open_probe(call, note.tenant, probe);
    if (opened) {
      return fail(ErrorCode::internal,
                  "the probe could still be decrypted: the store still holds "
                  "a wrapped key of the tenant");
    }
    note.probe_after = fmt::format("failed: {}", opened.error().message);
  }
  const auto key = TRY(parts_.keys.service_key().get(call));
  const auto statement = destruction_statement(note);
  const auto signature = sign_assertion(*key, dsse_encode(destruction_type, as_bytes(statement)));
  const EnvelopeSignature by_service{key->id, signature};
  note.certificate = dsse_envelope(destruction_type, statement, {&by_service, 1});
  return {};
}

Status Lifecycle::scrub(const CallContext& call) {
  const auto begun = parts_.clock.steady_now();
  do {
    if (TRY(parts_.store.scrub(call))) return {};
    parts_.clock.sleep_for(scrub_pause, {});
  } while (parts_.clock.steady_now() - begun < scrub_patience);
  return fail(ErrorCode::store_unavailable, "a reader has kept the write-ahead log in use");
}

Status Lifecycle::resume() {
  const auto call = CallContext::system("destroying");
  std::string after;
  Status outcome;  // one note that cannot be read holds no other up
  for (;;) {
    const auto notes =
        TRY(parts_.store.list_notes(call, destroying_prefix, after, resumed_at_once_max));
    if (notes.empty()) return outcome;
    for (const auto& [name, text] : notes) {
      auto note = parse_destruction_note(text);
      if (note) {
        resume_one(call, *std::move(note));
      } else {
        outcome = std::unexpected(std::move(note).error());
      }
    }
    after = notes.back().first;
  }
}

void Lifecycle::resume_one(const CallContext& call, DestructionNote note) {
  // Whoever asked has had its time; a daemon that waits for it does no harm by being second.
  const auto age = parts_.clock.now() - note.requested_at;
  const bool asked_just_now =
      age >= age.zero() && age < parts_.membership.lease() + Membership::settling;
  if (asked_just_now && !note.is_destroyed()) return;
  finish_when_applied(call, std::move(note), [](const Result<Destruction>& done) {
    if (done) return;
    logger(log_category::rotation)
        .warn("a destruction could not be continued: {}", done.error().message);
  });
}

}  // namespace betrace::kms
