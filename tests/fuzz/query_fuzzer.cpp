// Any bytes as a query, as a point and as a length of time: nothing crashes; what is decoded,
// encoded again, decodes alike; and the three readers of RFC 3339 agree wherever two of them read.
// And any bytes as a Retry-After.
#include "api/query.h"
#include "api/time_fields.h"
#include "base/encoding.h"
#include "base/http_time.h"
#include "evidence/span.h"
#include "fuzz.h"

using namespace betrace::kms;

namespace {

void read_query(std::string_view text) {
  must(percent_decode(percent_encode(text)) == text);
  const auto query = QueryString::read(text);
  if (!query) return;
  for (const std::string_view name : {"index", "held", "limit", "leaf"}) {
    const auto value = query->find(name);
    const auto number = query->number(name);
    must(value.has_value() || (number && !*number));
    if (const auto limit = query->page_limit()) must(*limit >= 1 && *limit <= page_limit_max);
    if (!value) continue;
    const auto encoded = fmt::format("{}={}", name, percent_encode(*value));
    must(QueryString::read(encoded)->find(name) == *value);
    const auto plain = fmt::format("{}={}", name, number ? **number : 0);
    must(!number || *QueryString::read(plain)->number(name) == *number);
    if (const auto bytes = hex_decode(*value)) must(hex_decode(hex_encode(*bytes)) == bytes);
  }
  (void)query->flag("held");
}

void read_time(std::string_view text) {
  const auto moment = parse_moment("from", text);
  const auto utc = parse_utc_time(text), any_zone = rfc3339_time(text);
  must(utc ? utc == any_zone : !any_zone || !text.ends_with('Z'));
  if (any_zone && text >= "1970") must(moment && moment->at == *any_zone);
  if (!moment) return;
  const auto written = rfc3339(moment->at);
  if (written.size() != 24 || written < "1970") return;  // in UTC it is another millennium
  must(parse_moment("from", written)->at == moment->at);
  must(parse_utc_time(written) == moment->at && rfc3339_time(written) == moment->at);
}

void read_duration(std::string_view text) {
  const auto duration = parse_duration("age", text);
  if (!duration) return;
  must(*duration >= std::chrono::seconds(0) && *duration <= std::chrono::days(366));
  must(parse_duration("age", fmt::format("{}s", duration->count())).value() == *duration);
}

void read_retry_after(std::string_view text) {
  constexpr SystemTime now = std::chrono::sys_days(std::chrono::January / 1 / 2027);
  const auto wait = parse_retry_after(text, now);
  must(!wait || (*wait >= std::chrono::seconds(0) && *wait <= std::chrono::hours(1)));
  must(wait || !parse_http_date(text));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::vector<std::string> seeds;
  for (const auto* text : {"index=7&leaf=00ff&limit=20", "held=%37&from=2026-01-01&to=a%20b"}) {
    seeds.push_back('\0' + std::string(text));
  }
  for (const auto* text : {"2025-10-01", "2025-10-01T14:00:00.250+02:00", "2016-12-31T23:59:60Z",
                           "9999-12-31T23:59:60.9999999-23:59", "1970-01-01T00:00:00+00:01"}) {
    seeds.push_back('\1' + std::string(text));
  }
  for (const auto* text : {"90s", "366d", "PT1H30M", "P1DT12H5S"}) {
    seeds.push_back('\2' + std::string(text));
  }
  for (const auto* text : {"120", "4294967296", "Fri, 01 Jan 2027 00:30:59 GMT"}) {
    seeds.push_back('\3' + std::string(text));
  }
  plant(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  switch (in.byte() % 4) {
    case 0:
      read_query(in.rest);
      break;
    case 1:
      read_time(in.rest);
      break;
    case 2:
      read_duration(in.rest);
      break;
    default:
      read_retry_after(in.rest);
  }
  return 0;
}
