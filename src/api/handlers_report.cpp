// The rotation report: which period, in which form.
#include <array>
#include <string>

#include <fmt/format.h>

#include "api/accept.h"
#include "api/handlers.h"
#include "api/json_fields.h"
#include "api/query.h"
#include "api/rotation_report.h"
#include "api/time_fields.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr auto period_default = std::chrono::days(90);
constexpr std::size_t overdue_max = 1000;

// The first is what callers get who do not say.
constexpr std::array<std::string_view, 3> types = {"application/pdf", "application/json",
                                                   "text/csv"};

struct Bounds {
  std::optional<std::string> start, end;
};

struct Period {
  SystemTime from, to;
};

// The manual sends a GET with a body.
Result<Bounds> read_bounds(const Request& request) {
  const auto query = TRY(QueryString::read(request.query));
  JsonDocument document;
  JsonValue start = nullptr, end = nullptr;
  TRY(read_body(request, document, {{"start_date", &start}, {"end_date", &end}}, Body::optional));
  Bounds bounds;
  if (const auto value = query.find("start_date")) bounds.start = std::string(*value);
  if (const auto value = query.find("end_date")) bounds.end = std::string(*value);
  if ((start || end) && (bounds.start || bounds.end)) {
    return fail(ErrorCode::invalid_argument,
                "the period stands in the query or in the body, not in both");
  }
  if (start) bounds.start = TRY(string_field("start_date", start));
  if (end) bounds.end = TRY(string_field("end_date", end));
  return bounds;
}

// An end that is a date means the whole of that day.
Result<Period> read_period(const Request& request, SystemTime now) {
  const auto bounds = TRY(read_bounds(request));
  Period period{.to = now};
  if (bounds.end) {
    const auto end = TRY(parse_moment("end_date", *bounds.end));
    period.to = end.is_whole_day ? end.at + std::chrono::days(1) : end.at;
  }
  period.from = period.to - period_default;
  if (bounds.start) period.from = TRY(parse_moment("start_date", *bounds.start)).at;
  if (period.from < period.to) return period;
  return fail(ErrorCode::invalid_argument, fmt::format("the period ends ({}) before it begins ({})",
                                                       rfc3339(period.to), rfc3339(period.from)));
}

struct ReportWork {
  ExchangePtr exchange;
  std::string_view type;
  ReportDocument document;
};
using ReportWorkPtr = std::unique_ptr<ReportWork>;

std::string file_name(const RotationReport& report, std::string_view type) {
  const auto extension = type.substr(type.find('/') + 1);
  const auto last = report.to - std::chrono::milliseconds(1);
  return fmt::format("rotation-report-{}-{}.{}", rfc3339(report.from).substr(0, 10),
                     rfc3339(last).substr(0, 10), extension);
}

Result<WipedString> rendered(const ReportWork& work) {
  if (work.type == "application/json") return report_json(work.document);
  if (work.type == "text/csv") return report_csv(work.document);
  return report_pdf(work.document);
}

void answer_report(ReportWorkPtr work) {
  auto body = rendered(*work);
  if (!body) return refuse(std::move(work->exchange), std::move(body).error());
  Response response;
  response.body = *std::move(body);
  response.content_type =
      work->type == "text/csv" ? "text/csv; charset=utf-8; header=present" : work->type;
  if (work->type != "application/json") {
    response.headers.emplace_back(
        "Content-Disposition",
        fmt::format("attachment; filename=\"{}\"", file_name(work->document.report, work->type)));
  }
  answer(std::move(work->exchange), std::move(response));
}

// A long report takes a second to write down: nothing for the thread that read the store.
void render(ReportWorkPtr work) {
  auto exchange = std::move(work->exchange);
  run_heavy(std::move(exchange), [work = std::move(work)](ExchangePtr back) mutable {
    work->exchange = std::move(back);
    answer_report(std::move(work));
  });
}

void add_overdue(ReportWorkPtr work) {
  const auto& now = *work->exchange;
  now.api().rotation.due(now.call(), {}, overdue_max + 1,
                         [work = std::move(work)](Result<std::vector<DueKey>> due) mutable {
                           if (!due) {
                             return refuse(std::move(work->exchange), std::move(due).error());
                           }
                           auto& document = work->document;
                           document.overdue = *std::move(due);
                           document.overdue_is_truncated = document.overdue.size() > overdue_max;
                           if (document.overdue_is_truncated) document.overdue.pop_back();
                           render(std::move(work));
                         });
}

}  // namespace

namespace handlers {

void rotation_report(ExchangePtr exchange) {
  const auto type = preferred_type(exchange->request().header("Accept"), types);
  if (!type) {
    return refuse(
        std::move(exchange),
        Error{.code = ErrorCode::invalid_argument,
              .message = fmt::format("none of the types in Accept can be given; there are "
                                     "{}, {} and {}",
                                     types[0], types[1], types[2])});
  }
  const auto made_at = exchange->api().clock.now();
  const auto period = read_period(exchange->request(), made_at);
  if (!period) return refuse(std::move(exchange), period.error());
  auto work = std::make_unique<ReportWork>();
  work->type = types[*type];
  work->document.made_at = made_at;
  work->document.version = exchange->api().settings.version;
  work->exchange = std::move(exchange);
  const auto& now = *work->exchange;
  now.api().rotation.report(now.call(), period->from, period->to,
                            [work = std::move(work)](Result<RotationReport> report) mutable {
                              if (!report) {
                                return refuse(std::move(work->exchange), std::move(report).error());
                              }
                              work->document.report = *std::move(report);
                              add_overdue(std::move(work));
                            });
}

}  // namespace handlers
}  // namespace betrace::kms
