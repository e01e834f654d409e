#include "api/rotation_report.h"

#include <cstdio>
#include <fstream>
#include <string>

#include "api/accept.h"
#include "api/time_fields.h"
#include "support/api_world.h"

namespace betrace::kms {
namespace {

const std::string path = "/api/admin/compliance/rotation-report";

RotatedKey rotated(const std::string& tenant, KeyType type, int seconds) {
  return {.tenant = TenantId::from_store(tenant),
          .type = type,
          .old_key = KeyId::generate(FakeLifecycle::at(0)),
          .new_key = KeyId::generate(FakeLifecycle::at(seconds)),
          .new_version = 2,
          .rotated_at = FakeLifecycle::at(seconds)};
}

RotationReport some_report() {
  RotationReport report{.tenants = 7, .overdue = 1, .max_age = std::chrono::days(90)};
  report.rotated = {rotated("acme", KeyType::signing, 1), rotated("acme", KeyType::encryption, 2),
                    rotated("-evil", KeyType::signing, 3)};
  report.runs = {{.id = "r",
                  .trigger = "schedule",
                  .started_at = FakeLifecycle::at(0),
                  .finished_at = FakeLifecycle::at(9),
                  .total_tenants = 3,
                  .rotated_tenants = 2,
                  .failed_tenants = 1,
                  .failures = {{.tenant = "broken",
                                .error = "=cmd, \"quoted\"\r\nsecond line",
                                .at = FakeLifecycle::at(4)}}}};
  return report;
}

ReportDocument some_document() {
  FakeRotation rotation;
  rotation.add_due("late", KeyType::signing, -100);
  auto report = some_report();
  report.from = FakeLifecycle::at(-86400);
  report.to = FakeLifecycle::at(86400);
  return {.report = std::move(report),
          .overdue = rotation.due_keys,
          .made_at = FakeLifecycle::at(60),
          .version = "1.2.3"};
}

// What a command says of a file with these bytes.
struct Finding {
  int status = -1;
  std::string out;
};
Finding ask(const std::string& command, std::string_view bytes) {
  const std::string file = testing::TempDir() + "rotation-report-" + std::to_string(getpid());
  std::ofstream(file, std::ios::binary) << bytes;
  Finding finding;
  if (auto* pipe = popen((command + " " + file + " - 2>&1").c_str(), "r")) {
    for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) finding.out += static_cast<char>(c);
    finding.status = pclose(pipe);
  }
  std::remove(file.c_str());
  return finding;
}
Finding check_pdf(std::string_view bytes) { return ask("sh -c 'qpdf --check \"$0\"'", bytes); }
std::string text_of_pdf(std::string_view bytes) { return ask("pdftotext -layout", bytes).out; }

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

class RotationReportRoute : public testing::Test {
 protected:
  RotationReportRoute() { world.rotation.reported = some_report(); }
  ApiAnswer get(const std::string& query, const std::string& accept = "application/json",
                const std::string& body = "") {
    return world.call("GET", path + query, body, {{"Accept", accept}});
  }
  std::string period(const std::string& query, const std::string& body = "") {
    world.rotation.asked_period.reset();
    const auto answer = get(query, "application/json", body);
    if (answer.status != 200) return answer.text("detail");
    return answer.text("from") + " " + answer.text("to");
  }
  ApiWorld world;
};

TEST_F(RotationReportRoute, SaysInJsonWhatHappenedAndWhatIsOverdue) {
  world.rotation.add_due("late", KeyType::encryption, -5);
  const auto answer = get("");
  EXPECT_EQ(answer.status, 200) << answer;
  EXPECT_EQ(answer.type, "application/json");
  const auto value = answer.json();
  EXPECT_EQ(value.at("totals"),
            boost::json::parse(R"({"signing_keys":2,"encryption_keys":1,"tenants_rotated":2,
                                   "runs":1,"failures":1})"));
  EXPECT_EQ(value.at("tenants").as_int64(), 7);
  EXPECT_EQ(value.at("overdue_tenants").as_int64(), 1);
  EXPECT_EQ(value.at("max_age_days").as_int64(), 90);
  EXPECT_EQ(value.at("rotations").as_array().size(), 3U);
  EXPECT_EQ(value.at("rotations").at(0).at("tenantId").as_string(), "acme");
  EXPECT_EQ(value.at("rotations").at(0).at("rotatedAt").as_string(), "2025-11-23T00:00:01.000Z");
  EXPECT_EQ(value.at("runs").at(0).at("failures").at(0).at("tenantId").as_string(), "broken");
  EXPECT_EQ(value.at("overdue").at(0).at("tenantId").as_string(), "late");
  EXPECT_FALSE(value.at("overdue_truncated").as_bool());
  EXPECT_EQ(world.heavy.posted, 1) << "written on the heavy executor";
}

TEST_F(RotationReportRoute, TakesDatesAndTimesInTheQuery) {
  EXPECT_EQ(period("?start_date=2025-10-01&end_date=2025-10-31"),
            "2025-10-01T00:00:00.000Z 2025-11-01T00:00:00.000Z")
      << "the whole of the last day";
  EXPECT_EQ(period("?start_date=2025-10-01&end_date=2025-10-01"),
            "2025-10-01T00:00:00.000Z 2025-10-02T00:00:00.000Z");
  EXPECT_EQ(period("?start_date=2025-10-01T02:00:00%2B02:00&end_date=2025-10-01T00:00:00.5Z"),
            "2025-10-01T00:00:00.000Z 2025-10-01T00:00:00.500Z");
  EXPECT_EQ(period("?start_date=2024-02-29"), "2024-02-29T00:00:00.000Z 2025-11-23T00:00:00.000Z");
  EXPECT_EQ(period("?end_date=2025-10-31"), "2025-08-03T00:00:00.000Z 2025-11-01T00:00:00.000Z");
  EXPECT_EQ(period(""), "2025-08-25T00:00:00.000Z 2025-11-23T00:00:00.000Z") << "90 days";
}

TEST_F(RotationReportRoute, TakesTheSameAsTheBodyOfAGet) {
  EXPECT_EQ(period("", R"({"start_date":"2025-10-01","end_date":"2025-10-31"})"),
            "2025-10-01T00:00:00.000Z 2025-11-01T00:00:00.000Z");
  EXPECT_EQ(period("", R"({"start_date":"2025-10-01"})"),
            "2025-10-01T00:00:00.000Z 2025-11-23T00:00:00.000Z");
  EXPECT_EQ(period("", "{}"), period(""));
  EXPECT_NE(period("?end_date=2025-10-31", R"({"start_date":"2025-10-01"})").find("not in both"),
            std::string::npos);
}

TEST_F(RotationReportRoute, RefusesPeriodsThatAreNone) {
  for (const auto* query :
       {"?start_date=2025-10-02&end_date=2025-10-01", "?start_date=2026-01-01",
        "?start_date=2025-10-01T00:00:00Z&end_date=2025-10-01T00:00:00Z", "?start_date=yesterday",
        "?start_date=", "?start_date=2025-02-29", "?start_date=2025-13-01",
        "?start_date=1969-12-31", "?start_date=2025-10-01T24:00:00Z",
        "?start_date=2025-10-01T00:00:00", "?start_date=2025-10-01T00:00Z", "?start_date=20251001",
        "?start_date=2025-10-01Z", "?start_date=2025-10-01T00:00:00.Z",
        "?start_date=2025-10-01T00:00:00+0200", "?start_date=2025-10-01T00:00:00%2B24:00",
        "?end_date=%zz"}) {
    const auto answer = get(query);
    EXPECT_EQ(answer.status, 400) << query << answer;
    EXPECT_EQ(answer.code(), "invalid_argument");
  }
  for (const auto* body : {R"({"start_date":20251001})", R"({"from":"2025-10-01"})", "[]", "x"}) {
    EXPECT_EQ(get("", "application/json", body).status, 400) << body;
  }
  EXPECT_FALSE(world.rotation.asked_period);
}

TEST_F(RotationReportRoute, ComesInTheFormThatIsAskedFor) {
  const auto type = [&](const std::string& accept) { return get("", accept).type; };
  EXPECT_EQ(world.get(path).type, "application/pdf") << "when nothing is asked";
  EXPECT_EQ(type("*/*"), "application/pdf");
  EXPECT_EQ(type("text/csv"), "text/csv; charset=utf-8; header=present");
  EXPECT_EQ(type("text/*"), "text/csv; charset=utf-8; header=present");
  EXPECT_EQ(type("application/*"), "application/pdf");
  EXPECT_EQ(type("application/json, */*"), "application/json");
  EXPECT_EQ(type("application/pdf;q=0.5, text/csv;q=0.9"),
            "text/csv; charset=utf-8; header=present");
  EXPECT_EQ(type("text/html, application/xhtml+xml, */*;q=0.8"), "application/pdf");
  EXPECT_EQ(type("APPLICATION/JSON"), "application/json");
  const auto refused = get("", "text/html");
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.text("detail").find("application/pdf, application/json and text/csv"),
            std::string::npos);
  EXPECT_EQ(get("", "*/*;q=0").status, 400);
  EXPECT_EQ(
      get("?start_date=2025-10-01&end_date=2025-10-31", "text/csv").header("Content-Disposition"),
      "attachment; filename=\"rotation-report-2025-10-01-2025-10-31.csv\"");
}

TEST_F(RotationReportRoute, IsNotForStrangers) {
  EXPECT_EQ(world.raw({.target = path}).status, 401);
}

TEST_F(RotationReportRoute, NamesTheThousandOldestOfWhatIsOverdue) {
  for (int i = 0; i < 1001; ++i) {
    world.rotation.add_due("t" + std::to_string(i), KeyType::signing, i);
  }
  const auto value = get("").json();
  EXPECT_EQ(value.at("overdue").as_array().size(), 1000U);
  EXPECT_TRUE(value.at("overdue_truncated").as_bool());
}

TEST(RotationReportCsv, IsRfc4180AndNoSpreadsheetCalculatesIt) {
  const std::string text(report_csv(some_document()));
  EXPECT_TRUE(text.starts_with(
      "record,tenant_id,key_type,key_id,new_key_id,new_version,at,error\r\nrotation,acme,signing,"))
      << text;
  EXPECT_NE(text.find("\r\nrotation,'-evil,signing,"), std::string::npos);
  EXPECT_NE(text.find("\r\nfailure,broken,,,,,2025-11-23T00:00:04.000Z,"
                      "\"'=cmd, \"\"quoted\"\"\r\nsecond line\"\r\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\r\noverdue,late,signing,"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\r\n"));
}

TEST(RotationReportPdf, IsAValidDocumentThatSaysEverything) {
  ASSERT_EQ(ask("sh -c 'command -v qpdf && command -v pdftotext'", "").status, 0)
      << "qpdf and pdftotext are needed: apt install qpdf poppler-utils";
  const auto document = some_document();
  const auto made = report_pdf(document);
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->starts_with("%PDF-1."));
  const auto checked = check_pdf(*made);
  EXPECT_EQ(checked.status, 0) << checked.out;
  const auto text = text_of_pdf(*made);
  for (const std::string& part :
       {std::string("Key rotation report"), std::string("from 2025-11-22 00:00:00 UTC"),
        std::string("up to 2025-11-24 00:00:00 UTC"), std::string("BeTrace KMS 1.2.3"),
        std::string("when they are 90 days old"), std::string("1 of 7 tenants has a key"),
        std::string("Signing keys rotated"), std::string("late"), std::string("schedule"),
        std::string("broken"), std::string("=cmd, \"quoted\""), std::string("-evil"),
        document.report.rotated[0].old_key.str(), document.report.rotated[2].new_key.str(),
        std::string("2025-11-23 00:00:03 UTC"), std::string("Page 1 of")}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(RotationReportPdf, GoesOnOverManyPagesWithTheColumnsOnEach) {
  auto document = some_document();
  document.report.rotated.clear();
  for (int i = 0; i < 1000; ++i) {
    document.report.rotated.push_back(rotated("tenant-" + std::to_string(i), KeyType::signing, i));
  }
  const auto made = report_pdf(document);
  ASSERT_TRUE(made);
  const auto checked = check_pdf(*made);
  EXPECT_EQ(checked.status, 0) << checked.out;
  const auto text = text_of_pdf(*made);
  const auto pages = count(text, "Page ");
  EXPECT_GT(pages, 15);
  EXPECT_NE(text.find("Page " + std::to_string(pages) + " of " + std::to_string(pages)),
            std::string::npos);
  EXPECT_GE(count(text, "Old key"), pages - 3) << "each page of the table";
  for (int i = 0; i < 1000; ++i) {
    ASSERT_NE(text.find("tenant-" + std::to_string(i) + " "), std::string::npos) << i;
  }
}

TEST(RotationReportPdf, BreaksLongNamesAndShowsOtherAlphabetsAsQuestionMarks) {
  auto document = some_document();
  const std::string name(128, 'm');
  document.report.rotated = {rotated(name, KeyType::signing, 1)};
  document.report.runs[0].failures[0].error = "Schlüssel für \xe6\xbc\xa2\xe5\xad\x97 \x1b[2J fort";
  const auto made = report_pdf(document);
  ASSERT_TRUE(made);
  const auto text = text_of_pdf(*made);
  EXPECT_EQ(count(text, "m") - count(text, "mm") >= 1, true);
  EXPECT_GE(static_cast<int>(std::count(text.begin(), text.end(), 'm')), 128);
  EXPECT_NE(text.find("Schlüssel für ?? [2J fort"), std::string::npos) << text;
}

TEST(RotationReportPdf, ListsTwentyThousandAndSaysThatThereAreMore) {
  auto document = some_document();
  document.report.truncated = true;
  document.report.rotated.assign(20'001, rotated("acme", KeyType::signing, 1));
  const auto made = report_pdf(document);
  ASSERT_TRUE(made);
  const auto text = text_of_pdf(*made);
  EXPECT_NE(text.find("The first 20000 of 20001 are listed"), std::string::npos);
  EXPECT_NE(text.find("More keys were rotated in the period than a report holds"),
            std::string::npos);
  EXPECT_EQ(check_pdf(*made).status, 0);
}

TEST(RotationReportPdf, OfNothingSaysSo) {
  const ReportDocument document{.report = {.from = FakeLifecycle::at(0),
                                           .to = FakeLifecycle::at(1),
                                           .max_age = std::chrono::days(1)},
                                .made_at = FakeLifecycle::at(0)};
  const auto made = report_pdf(document);
  ASSERT_TRUE(made);
  const auto text = text_of_pdf(*made);
  EXPECT_NE(text.find("when they are 1 day old"), std::string::npos);
  EXPECT_NE(text.find("Every tenant is within the bound."), std::string::npos);
  EXPECT_NE(text.find("No key was rotated in this period."), std::string::npos);
}

}  // namespace
}  // namespace betrace::kms
