// Rotation of every tenant: start it, watch it, what is due, when it comes by itself.
#include <string>

#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/query.h"
#include "api/rotation_views.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr IntegerRange stagger_range{.min = 0, .max = 3'600'000};

Result<RotationRequest> read_rotation(const Request& request) {
  JsonDocument document;
  JsonValue force = nullptr, stagger = nullptr;
  TRY(read_body(request, document, {{"force", &force}, {"stagger_ms", &stagger}}, Body::optional));
  RotationRequest wanted{.force = TRY(bool_field("force", force)).value_or(false)};
  if (const auto pause = TRY(integer_field("stagger_ms", stagger, stagger_range))) {
    wanted.stagger = std::chrono::milliseconds(*pause);
  }
  return wanted;
}

struct DuePage {
  AgePlace after;
  std::size_t limit = 0;
};

Result<DuePage> read_due_page(std::string_view text) {
  const auto query = TRY(QueryString::read(text));
  DuePage page{.limit = TRY(query.page_limit())};
  const auto after = query.find("after").value_or("");
  if (!after.empty()) page.after = TRY(parse_page_cursor(after));
  return page;
}

void write_due(std::span<const DueKey> due, bool more, std::chrono::days max_age, JsonWriter& out) {
  out.begin_object().key("tenants").begin_array();
  for (const auto& key : due) write_due_key(key, out);
  out.end_array();
  out.key("count").integer(static_cast<std::int64_t>(due.size()));
  out.key("max_age_days").integer(max_age.count());
  out.key("next");
  if (more) {
    const auto& last = due.back().key;
    out.string(page_cursor(
        {.created_at = last.created_at, .tenant = last.tenant.str(), .type = last.type}));
  } else {
    out.null();
  }
  out.end_object();
}

void answer_run(ExchangePtr exchange, Result<RotationRun> run, int status) {
  if (!run) return refuse(std::move(exchange), std::move(run).error());
  JsonWriter body(512 + run->failures.size() * 160);
  write_run(*run, body);
  answer(std::move(exchange), std::move(body), status);
}

}  // namespace

namespace handlers {

void rotate_all_keys(ExchangePtr exchange) {
  auto wanted = read_rotation(exchange->request());
  if (!wanted) return refuse(std::move(exchange), std::move(wanted).error());
  const auto& now = *exchange;
  now.api().rotation.start(now.call(), *std::move(wanted),
                           [exchange = std::move(exchange)](Result<RotationRun> run) mutable {
                             answer_run(std::move(exchange), std::move(run), 202);
                           });
}

void rotation_status(ExchangePtr exchange) {
  const auto& now = *exchange;
  now.api().rotation.status(now.call(),
                            [exchange = std::move(exchange)](Result<RotationRun> run) mutable {
                              answer_run(std::move(exchange), std::move(run), 200);
                            });
}

void tenants_needing_rotation(ExchangePtr exchange) {
  auto page = read_due_page(exchange->request().query);
  if (!page) return refuse(std::move(exchange), std::move(page).error());
  const auto limit = page->limit;
  const auto& now = *exchange;
  // One more shows whether there is a next page.
  now.api().rotation.due(
      now.call(), std::move(page->after), limit + 1,
      [exchange = std::move(exchange), limit](Result<std::vector<DueKey>> due) mutable {
        if (!due) return refuse(std::move(exchange), std::move(due).error());
        const std::span<const DueKey> all = *due;
        JsonWriter body(96 + all.size() * 176);
        write_due(all.first(std::min(all.size(), limit)), all.size() > limit,
                  exchange->api().rotation.max_age(), body);
        answer(std::move(exchange), std::move(body));
      });
}

void scheduler_status(ExchangePtr exchange) {
  JsonWriter body;
  write_schedule(exchange->api().rotation.schedule(), body);
  answer(std::move(exchange), std::move(body));
}

}  // namespace handlers
}  // namespace betrace::kms
