// The log of signed evidence: its key, checkpoints, proofs, leaves, and the heads of bundles.
#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "betrace/kms/evidence.h"

#include "api/exchange.h"
#include "api/handlers.h"
#include "api/query.h"
#include "api/time_fields.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::size_t leaves_bytes_max = 8U << 20;

// Runs `make` where it may block, and answers what it came to.
template <class Make>
void answer_from_archive(ExchangePtr exchange, Make make) {
  run_heavy(std::move(exchange), [make](ExchangePtr taken) {
    Result<Response> response = make(*taken);
    if (!response) return refuse(std::move(taken), std::move(response).error());
    answer(std::move(taken), *std::move(response));
  });
}

Response as(std::string_view content_type, std::string_view body) {
  Response response;
  response.content_type = content_type;
  response.body.assign(body.begin(), body.end());
  return response;
}

Response as_json(JsonWriter body) {
  Response response;
  response.body = std::move(body).take();
  return response;
}

void write_proof(const std::vector<EvidenceArchive::Hash>& proof, JsonWriter& out) {
  out.begin_array();
  for (const auto& hash : proof) out.base64(hash);
  out.end_array();
}

// As text, since they may have 64 bits.
void write_number(std::string_view name, std::uint64_t number, JsonWriter& out) {
  out.key(name).string(std::to_string(number));
}

Result<std::uint64_t> needed_number(const QueryString& query, std::string_view name) {
  if (const auto number = TRY(query.number(name))) return *number;
  return fail(ErrorCode::invalid_argument, fmt::format("the query needs '{}', a number", name));
}

Result<EvidenceArchive::Hash> parse_hash(std::string_view text) {
  const auto bytes = hex_decode(text);
  EvidenceArchive::Hash hash;
  if (!bytes || bytes->size() != hash.size()) {
    return fail(ErrorCode::invalid_argument,
                "'leaf' is the SHA-256 of the leaf, 64 hexadecimal digits (RFC 6962: of a zero "
                "byte and the signed span in its RFC 8785 form)");
  }
  std::ranges::copy(*bytes, hash.begin());
  return hash;
}

Result<EvidenceArchive::Inclusion> find_inclusion(EvidenceArchive& archive, const TenantId& tenant,
                                                  const QueryString& query) {
  if (const auto leaf = query.find("leaf")) {
    return archive.inclusion(tenant, TRY(parse_hash(*leaf)));
  }
  return archive.inclusion(tenant, TRY(needed_number(query, "index")));
}

// An end that is a date means the whole of that day.
Result<EvidenceArchive::Period> read_period(const QueryString& query) {
  EvidenceArchive::Period period;
  if (const auto from = query.find("from")) period.from = TRY(parse_moment("from", *from)).at;
  if (const auto to = query.find("to")) {
    const auto end = TRY(parse_moment("to", *to));
    period.to = end.is_whole_day ? end.at + std::chrono::days(1) : end.at;
  }
  if (period.from && period.to && *period.from >= *period.to) {
    return fail(ErrorCode::invalid_argument, "from: it is not before 'to'");
  }
  return period;
}

}  // namespace

namespace handlers {

void evidence_log_key(ExchangePtr exchange) {
  answer_from_archive(std::move(exchange), [](const ApiExchange& now) -> Result<Response> {
    JsonWriter body;
    body.begin_object().key("key").string(TRY(now.api().archive.log_key())).end_object();
    return as_json(std::move(body));
  });
}

void evidence_checkpoint(ExchangePtr exchange) {
  answer_from_archive(std::move(exchange), [](const ApiExchange& now) -> Result<Response> {
    return as("text/plain; charset=utf-8", TRY(now.api().archive.checkpoint(now.tenant())));
  });
}

void evidence_inclusion(ExchangePtr exchange) {
  answer_from_archive(std::move(exchange), [](const ApiExchange& now) -> Result<Response> {
    const auto query = TRY(QueryString::read(now.request().query));
    const auto found = TRY(find_inclusion(now.api().archive, now.tenant(), query));
    JsonWriter body;
    body.begin_object();
    write_number("index", found.index, body);
    write_number("size", found.size, body);
    body.key("leafHash").base64(found.leaf);
    body.key("proof");
    write_proof(found.proof, body);
    body.key("checkpoint").string(found.checkpoint).end_object();
    return as_json(std::move(body));
  });
}

void evidence_consistency(ExchangePtr exchange) {
  answer_from_archive(std::move(exchange), [](const ApiExchange& now) -> Result<Response> {
    const auto query = TRY(QueryString::read(now.request().query));
    const auto first = TRY(needed_number(query, "first"));
    const auto found = TRY(now.api().archive.consistency(now.tenant(), first));
    JsonWriter body;
    body.begin_object();
    write_number("first", found.first, body);
    write_number("second", found.second, body);
    body.key("proof");
    write_proof(found.proof, body);
    body.key("checkpoint").string(found.checkpoint).end_object();
    return as_json(std::move(body));
  });
}

void evidence_leaves(ExchangePtr exchange) {
  answer_from_archive(std::move(exchange), [](const ApiExchange& now) -> Result<Response> {
    const auto query = TRY(QueryString::read(now.request().query));
    const auto begin = TRY(needed_number(query, "begin"));
    const auto end = TRY(needed_number(query, "end"));
    std::string body;
    for (const auto& leaf :
         TRY(now.api().archive.leaves(now.tenant(), begin, end, leaves_bytes_max))) {
      body += leaf;
      body += '\n';
    }
    return as("application/x-ndjson", body);
  });
}

void evidence_bundle(ExchangePtr exchange) {
  answer_from_archive(std::move(exchange), [](const ApiExchange& now) -> Result<Response> {
    const auto query = TRY(QueryString::read(now.request().query));
    const auto period = TRY(read_period(query));
    const auto held = TRY(query.number("held"));
    const auto head = TRY(now.api().archive.bundle_head(now.call(), now.tenant(), period, held));
    JsonWriter body(head.line.size() + 96);
    body.begin_object();
    write_number("begin", head.begin, body);
    write_number("end", head.end, body);
    body.key("head").string(head.line).end_object();
    return as_json(std::move(body));
  });
}

}  // namespace handlers
}  // namespace betrace::kms
