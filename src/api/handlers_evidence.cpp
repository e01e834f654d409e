// Compliance spans: the body goes on as it came, for its spans are read once, by who signs them.
#include "betrace/kms/evidence.h"

#include "api/exchange.h"
#include "api/handlers.h"
#include "api/key_views.h"
#include "api/problem.h"

namespace betrace::kms {
namespace {

constexpr std::size_t expected_span_bytes = 640;

void write_item_problem(const Error& error, JsonWriter& out) {
  out.begin_object().key("error");
  write_problem(error, {}, out);
  out.end_object();
}

void answer_signed(ExchangePtr exchange, Evidence::Items<Result<WipedString>> spans) {
  if (!spans.batch && !spans.items.front()) {
    return refuse(std::move(exchange), std::move(spans.items.front()).error());
  }
  JsonWriter body(32 + spans.items.size() * expected_span_bytes);
  body.begin_object().key(spans.batch ? "spans" : "span");
  if (spans.batch) body.begin_array();
  for (const auto& span : spans.items) {
    if (span) {
      body.verbatim(*span);
    } else {
      write_item_problem(span.error(), body);
    }
  }
  if (spans.batch) body.end_array();
  body.end_object();
  answer(std::move(exchange), std::move(body));
}

void write_verdict(const SpanVerdict& verdict, JsonWriter& out) {
  const auto text_or_null = [&](std::string_view name, const std::string& text) {
    out.key(name);
    if (text.empty()) {
      out.null();
    } else {
      out.string(text);
    }
  };
  out.begin_object();
  out.key("valid").boolean(verdict.valid);
  out.key("message").string(verdict.message);
  text_or_null("tenantId", verdict.tenant);
  text_or_null("timestamp", verdict.timestamp);
  text_or_null("keyId", verdict.key_id);
  text_or_null("keyStatus",
               verdict.key_state ? std::string(key_status(*verdict.key_state)) : std::string());
  out.end_object();
}

using Verdicts = Evidence::Items<Result<SpanVerdict>>;

void answer_verdict(ExchangePtr exchange, Verdicts spans) {
  if (spans.batch) {
    return refuse(std::move(exchange), {.code = ErrorCode::invalid_argument,
                                        .message = "this route takes one 'span'; 'spans' go to "
                                                   "/api/compliance/verify/batch"});
  }
  if (!spans.items.front()) {
    return refuse(std::move(exchange), std::move(spans.items.front()).error());
  }
  JsonWriter body;
  write_verdict(*spans.items.front(), body);
  answer(std::move(exchange), std::move(body));
}

void answer_verdicts(ExchangePtr exchange, Verdicts spans) {
  if (!spans.batch) {
    return refuse(std::move(exchange), {.code = ErrorCode::invalid_argument,
                                        .message = "this route takes 'spans', a list; one 'span' "
                                                   "goes to /api/compliance/verify/span"});
  }
  constexpr std::size_t expected_bytes = 256;
  JsonWriter body(64 + spans.items.size() * expected_bytes);
  std::int64_t valid = 0;
  body.begin_object().key("results").begin_array();
  for (const auto& each : spans.items) {
    if (each) {
      valid += each->valid ? 1 : 0;
      write_verdict(*each, body);
    } else {
      write_item_problem(each.error(), body);
    }
  }
  body.end_array();
  body.key("valid").integer(valid);
  body.key("invalid").integer(static_cast<std::int64_t>(spans.items.size()) - valid);
  body.end_object();
  answer(std::move(exchange), std::move(body));
}

// Calls `verb` of the evidence with the body; dozens of signatures are the heavy executor's.
template <class T, auto verb, void (*write)(ExchangePtr, Evidence::Items<Result<T>>)>
void with_evidence(ExchangePtr exchange) {
  const auto go = [](ExchangePtr taken) {
    const auto& now = *taken;
    (now.api().evidence.*verb)(now.call(), now.request().body,
                               [taken = std::move(taken)](auto items) mutable {
                                 if (!items) {
                                   return refuse(std::move(taken), std::move(items).error());
                                 }
                                 write(std::move(taken), *std::move(items));
                               });
  };
  constexpr std::size_t few_spans_bytes = 4096;
  const auto bytes = exchange->request().body.size();
  const bool on_io_thread = bytes <= inline_body_bytes_max;
  if (bytes <= few_spans_bytes || !on_io_thread) return go(std::move(exchange));
  run_heavy(std::move(exchange), go);
}

}  // namespace

namespace handlers {

void sign_spans(ExchangePtr exchange) {
  with_evidence<WipedString, &Evidence::sign_spans, answer_signed>(std::move(exchange));
}

void verify_span(ExchangePtr exchange) {
  with_evidence<SpanVerdict, &Evidence::verify_spans, answer_verdict>(std::move(exchange));
}

void verify_spans(ExchangePtr exchange) {
  with_evidence<SpanVerdict, &Evidence::verify_spans, answer_verdicts>(std::move(exchange));
}

}  // namespace handlers
}  // namespace betrace::kms
