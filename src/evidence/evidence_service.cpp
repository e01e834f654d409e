#include "evidence/evidence_service.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/canonical_json.h"
#include "base/encoding.h"
#include "base/json.h"
#include "base/try.h"
#include "evidence/archive.h"
#include "telemetry/log.h"

namespace betrace::kms {
namespace {

using boost::json::object;
using boost::json::value;

constexpr std::size_t single_bytes_max = 1 << 20;

// By tenant, the indices of their items.
using Groups = std::map<TenantId, std::vector<std::size_t>>;

struct SpanValues {
  bool batch = false;
  std::vector<const value*> values;
};

Result<SpanValues> spans_of(const value& root) {
  const auto* document = root.if_object();
  if (document == nullptr) return fail(ErrorCode::invalid_argument, "the body is not an object");
  const value *one = nullptr, *many = nullptr;
  for (const auto& [name, field] : *document) {
    if (name == "span") {
      one = &field;
    } else if (name == "spans") {
      many = &field;
    } else {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("the field '{}' is not known here; accepted is either 'span' or "
                              "'spans'",
                              std::string_view(name)));
    }
  }
  if ((one != nullptr) == (many != nullptr)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the body needs either 'span' or 'spans'{}",
                            one != nullptr ? ", not both" : ""));
  }
  if (one != nullptr) return SpanValues{.values = {one}};
  const auto* items = many->if_array();
  if (items == nullptr) return fail(ErrorCode::invalid_argument, "'spans' is not an array");
  if (items->size() > spans_max) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("'spans' has {} items; at most {}", items->size(), spans_max));
  }
  SpanValues found{.batch = true, .values = {}};
  for (const auto& item : *items) found.values.push_back(&item);
  return found;
}

// {"spanAttributes":{…},"signature":"…"} as the span it means, if it is that.
std::optional<value> span_of_older_form(const value& root) {
  const auto* document = root.if_object();
  const auto* span = document ? document->if_contains("spanAttributes") : nullptr;
  const auto* signature = document ? document->if_contains("signature") : nullptr;
  if (!span || !span->is_object() || !signature || document->size() != 2) return std::nullopt;
  value whole(*span, document->storage());
  if (!whole.get_object().emplace("signature", *signature).second) return std::nullopt;
  return whole;
}

Error in_span(Error error, bool batch, std::size_t index) {
  error.message =
      fmt::format("{}: {}", batch ? fmt::format("spans[{}]", index) : "span", error.message);
  return error;
}

// What a verification came to; an error says that nobody knows.
Result<SpanVerdict> verdict_of(const SignedSpan& span, const Result<Verification>& verification) {
  SpanVerdict verdict{.tenant = span.tenant, .timestamp = span.timestamp, .key_id = span.key_text};
  if (!verification) {
    switch (verification.error().code) {
      case ErrorCode::tenant_not_found:
        verdict.message = "Unknown tenant";
        return verdict;
      case ErrorCode::key_not_found:
        verdict.message =
            "Unknown key: the span's tenant has no such signing key, so key or tenant are "
            "another's";
        return verdict;
      default:
        return std::unexpected(verification.error());
    }
  }
  verdict.key_state = verification->key_state;
  if (!verification->valid) {
    verdict.message = "Signature invalid or tampered";
  } else if (!verification->trusted) {
    verdict.message = fmt::format(
        "Key revoked{}, and nothing proves the span older than that",
        verification->revoked_at ? " at " + rfc3339(*verification->revoked_at) : std::string());
  } else {
    verdict.valid = true;
    verdict.message = "Signature valid";
  }
  return verdict;
}

// One document under way: answered when all that was opened is closed.
template <class T>
struct Job {
  Job(CallContext of, Metrics& counted_in, Done<Evidence::Items<Result<T>>> to)
      : call(std::move(of)), metrics(counted_in), done(std::move(to)) {}

  // False: it is answered with what is wrong.
  bool read(std::string_view text, bool older_form_too = false) {
    auto parsed = document.parse(text);
    if (parsed && older_form_too) older_form = span_of_older_form(document.root());
    if (parsed) parsed = take_spans(text.size());
    if (parsed) return true;
    done(std::unexpected(std::move(parsed).error()));
    return false;
  }
  void close() {
    if (--open == 0) finish();
  }
  void finish() { done(std::exchange(answer, {})); }

  const CallContext call;
  Metrics& metrics;
  JsonDocument document;
  std::optional<value> older_form;
  std::vector<const value*> values;
  Evidence::Items<Result<T>> answer;
  std::atomic<std::size_t> open = 1;
  Done<Evidence::Items<Result<T>>> done;

 private:
  Status take_spans(std::size_t bytes) {
    auto found = older_form ? SpanValues{.values = {&*older_form}} : TRY(spans_of(document.root()));
    if (!found.batch && bytes > single_bytes_max) {
      return fail(
          ErrorCode::payload_too_large,
          fmt::format("the body has {} bytes; at most {} for one span", bytes, single_bytes_max));
    }
    values = std::move(found.values);
    answer.batch = found.batch;
    answer.items.resize(values.size());
    return {};
  }
};

Error not_allowed(const TenantId& tenant) {
  return {.code = ErrorCode::permission_denied,
          .message = fmt::format("spans of tenant {} are not yours to use", tenant.str())};
}

}  // namespace

// --- signing ------------------------------------------------------------------------------------

struct EvidenceService::Signing : Job<WipedString>, std::enable_shared_from_this<Signing> {
  using Job::Job;
  const LogSlot* log = nullptr;
  std::vector<std::optional<ComplianceSpan>> fresh;  // to be signed
  std::vector<std::optional<SignedSpan>> came_signed;
  std::vector<std::size_t> newly_signed;
  std::mutex mutex;  // of newly_signed, while groups are signed side by side

  void refuse(std::size_t index, Error error) {
    const bool ours =
        error.code != ErrorCode::invalid_argument && error.code != ErrorCode::permission_denied;
    (ours ? metrics.spans_failed : metrics.spans_refused).Increment();
    answer.items[index] = std::unexpected(in_span(std::move(error), answer.batch, index));
  }

  // What became of the spans of one tenant.
  void take(const std::vector<std::size_t>& which, const TenantId& tenant,
            const Result<std::vector<Result<Signature>>>& signatures) {
    if (!signatures) {
      logger(log_category::kms)
          .warn("{} compliance spans of tenant {} were not signed: {}", which.size(), tenant.str(),
                signatures.error().message);
    }
    for (std::size_t n = 0; n < which.size(); ++n) {
      const auto index = which[n];
      if (!signatures) {
        refuse(index, signatures.error());
      } else if (const auto& one = (*signatures)[n]; !one) {
        refuse(index, one.error());
      } else {
        answer.items[index] = fresh[index]->signed_json(one->key_id, one->bytes);
        const std::lock_guard lock(mutex);
        newly_signed.push_back(index);
      }
    }
    close();
  }

  void close() {
    if (--open > 0) return;
    if (log == nullptr || newly_signed.empty()) return count_and_finish({});
    const auto evidence_log = log->get();
    if (!evidence_log) return count_and_finish(std::unexpected(evidence_log.error()));
    std::ranges::sort(newly_signed);
    std::vector<EvidenceLog::Leaf> leaves;
    leaves.reserve(newly_signed.size());
    for (const auto index : newly_signed) {
      leaves.push_back(
          {.tenant = fresh[index]->tenant(), .bytes = std::string(*answer.items[index])});
    }
    (*evidence_log)
        ->append(std::move(leaves), {},
                 [self = shared_from_this()](const Result<std::vector<std::uint64_t>>& indices) {
                   self->count_and_finish(indices ? Status() : std::unexpected(indices.error()));
                 });
  }

 private:
  // A signature that is in no log was never made.
  void count_and_finish(const Status& logged) {
    for (const auto index : newly_signed) {
      if (logged) {
        metrics.spans_signed.Increment();
      } else {
        refuse(index, logged.error());
      }
    }
    finish();
  }
};

void EvidenceService::sign_spans(CallContext call, std::string_view document,
                                 Done<Items<Result<WipedString>>> done) {
  const auto job = std::make_shared<Signing>(std::move(call), parts_.metrics, std::move(done));
  job->log = parts_.log;
  if (!job->read(document)) return;
  job->fresh.resize(job->values.size());
  job->came_signed.resize(job->values.size());
  Groups groups;
  for (std::size_t i = 0; i < job->values.size(); ++i) {
    const auto* span = job->values[i]->if_object();
    if (span == nullptr) {
      job->refuse(i, {.code = ErrorCode::invalid_argument, .message = "it is not an object"});
    } else if (span->contains("signature")) {
      job->came_signed[i] = SignedSpan::parse(*span);
      ++job->open;
    } else if (auto parsed = ComplianceSpan::parse(*span, parts_.frameworks); !parsed) {
      job->refuse(i, std::move(parsed).error());
    } else if (!parts_.authorizer.allow(job->call.principal, "sign-spans",
                                        parsed->tenant().str())) {
      job->refuse(i, not_allowed(parsed->tenant()));
    } else {
      groups[parsed->tenant()].push_back(i);
      job->fresh[i] = *std::move(parsed);
    }
  }
  job->open += groups.size();
  for (auto& [tenant, which] : groups) {
    sign_tenant(job, tenant, std::make_shared<const std::vector<std::size_t>>(std::move(which)),
                true);
  }
  for (std::size_t i = 0; i < job->came_signed.size(); ++i) {
    if (job->came_signed[i]) check_signed(job, i);
  }
  job->close();
}

void EvidenceService::sign_tenant(const std::shared_ptr<Signing>& job, const TenantId& tenant,
                                  const Indices& which, bool may_create) {
  parts_.signer.sign_statements(
      job->call, tenant, which->size(),
      [job, which](std::size_t n, const KeyId& key, WipedBytes& out) {
        job->fresh[(*which)[n]]->write_statement(key, out);
      },
      [this, job, which, tenant, may_create](Result<std::vector<Result<Signature>>> signatures) {
        const bool absent = !signatures && signatures.error().code == ErrorCode::tenant_not_found;
        if (!absent || !may_create || !parts_.create_tenant) {
          return job->take(*which, tenant, signatures);
        }
        parts_.create_tenant(job->call, tenant,
                             [this, job, which, tenant](Result<TenantDescription> created) {
                               if (created) return sign_tenant(job, tenant, which, false);
                               job->take(*which, tenant, std::unexpected(created.error()));
                             });
      });
}

void EvidenceService::check_signed(const std::shared_ptr<Signing>& job, std::size_t which) {
  const SignedSpan& span = *job->came_signed[which];
  const auto refuse = [&](std::string why) {
    job->refuse(which, {.code = ErrorCode::invalid_argument,
                        .message = "signature: the span came signed, and is refused: " + why});
    job->close();
  };
  if (!span.fault.empty()) return refuse(span.fault);
  if (!parts_.authorizer.allow(job->call.principal, "sign-spans", span.tenant)) {
    job->refuse(which, not_allowed(*span.owner));
    return job->close();
  }
  const auto request = std::make_shared<const VerifyRequest>(
      VerifyRequest{.payload = span.statement, .signature = span.signature, .key_id = span.key});
  parts_.keys.verify(
      job->call, *span.owner, {request.get(), 1},
      [job, which, request](Result<std::vector<Result<Verification>>> verified) {
        const SignedSpan& came = *job->came_signed[which];
        const auto verdict = verdict_of(
            came, verified ? std::move(verified->front()) : std::unexpected(verified.error()));
        if (!verdict) {
          job->refuse(which, verdict.error());
        } else if (!verdict->valid) {
          job->refuse(which, {.code = ErrorCode::invalid_argument,
                              .message = "signature: the span came signed, and is refused: " +
                                         verdict->message});
        } else {
          job->metrics.spans_signed_before.Increment();
          WipedString json;
          append_canonical_json(*job->values[which], json);
          job->answer.items[which] = std::move(json);
        }
        job->close();
      });
}

// --- verifying ----------------------------------------------------------------------------------

struct EvidenceService::Verifying : Job<SpanVerdict> {
  using Job::Job;
  std::vector<SignedSpan> spans;

  void decide(std::size_t index, Result<SpanVerdict> verdict) {
    if (verdict) {
      (verdict->valid ? metrics.spans_valid : metrics.spans_invalid).Increment();
    } else {
      verdict = std::unexpected(in_span(verdict.error(), answer.batch, index));
    }
    answer.items[index] = std::move(verdict);
  }
};

void EvidenceService::verify_spans(CallContext call, std::string_view document,
                                   Done<Items<Result<SpanVerdict>>> done) {
  const auto job = std::make_shared<Verifying>(std::move(call), parts_.metrics, std::move(done));
  if (!job->read(document, true)) return;
  Groups groups;
  for (std::size_t i = 0; i < job->values.size(); ++i) {
    const auto* object = job->values[i]->if_object();
    auto& span = job->spans.emplace_back(
        object ? SignedSpan::parse(*object) : SignedSpan{.fault = "Malformed: it is no object"});
    if (!span.fault.empty()) {
      job->decide(i, SpanVerdict{.message = span.fault,
                                 .tenant = span.tenant,
                                 .timestamp = span.timestamp,
                                 .key_id = span.key_text});
    } else if (!parts_.authorizer.allow(job->call.principal, "verify-spans", span.tenant)) {
      job->decide(i, std::unexpected(not_allowed(*span.owner)));
    } else {
      groups[*span.owner].push_back(i);
    }
  }
  job->open += groups.size();
  for (auto& [tenant, which] : groups) verify_tenant(job, tenant, std::move(which));
  job->close();
}

void EvidenceService::verify_tenant(const std::shared_ptr<Verifying>& job, const TenantId& tenant,
                                    std::vector<std::size_t> which) {
  struct Group {
    std::vector<std::size_t> which;
    std::vector<VerifyRequest> requests;
  };
  auto group = std::make_shared<Group>(Group{.which = std::move(which), .requests = {}});
  for (const std::size_t index : group->which) {
    const SignedSpan& span = job->spans[index];
    group->requests.push_back(
        {.payload = span.statement, .signature = span.signature, .key_id = span.key});
  }
  parts_.keys.verify(
      job->call, tenant, group->requests,
      [this, job, group](Result<std::vector<Result<Verification>>> verified) {
        for (std::size_t n = 0; n < group->which.size(); ++n) {
          const auto index = group->which[n];
          const auto each = verified ? (*verified)[n] : std::unexpected(verified.error());
          auto verdict = verdict_of(job->spans[index], each);
          const bool old_perhaps = each && each->valid && !each->trusted && each->revoked_at;
          if (old_perhaps && parts_.log != nullptr) {
            ++job->open;
            look_for_proof(job, index, *each->revoked_at, *std::move(verdict));
          } else {
            job->decide(index, std::move(verdict));
          }
        }
        job->close();
      });
}

// Whether the log had the span before its key was revoked: then whoever has the key since cannot
// have made it.
void EvidenceService::look_for_proof(const std::shared_ptr<Verifying>& job, std::size_t index,
                                     SystemTime revoked_at, SpanVerdict verdict) {
  const auto look = [this, job, index, revoked_at, verdict]() mutable {
    const auto log = parts_.log->get();
    WipedString leaf;
    append_canonical_json(*job->values[index], leaf);
    const auto seen = log ? first_seen(**log, *job->spans[index].owner, as_bytes(leaf))
                          : std::unexpected(log.error());
    if (seen && seen->checkpoint.time < revoked_at) {
      verdict.valid = true;
      verdict.message = fmt::format(
          "Signature valid: the key was revoked at {}, and the checkpoint of {} has "
          "the span",
          rfc3339(revoked_at), rfc3339(seen->checkpoint.time));
    }
    job->decide(index, std::move(verdict));
    job->close();
  };
  if (parts_.blocking->post(look)) return;
  job->decide(index,
              fail(ErrorCode::overloaded, "too much work is waiting; try again in a moment"));
  job->close();
}

}  // namespace betrace::kms
