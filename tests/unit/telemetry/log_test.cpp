#include "telemetry/log.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

namespace betrace::kms {
namespace {

// The log is one for the process: each test points it at a file of its own and puts it back.
class Log : public testing::Test {
 protected:
  Log() {
    auto pattern = (std::filesystem::temp_directory_path() / "betrace-log-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    path_ = folder_ / "backend.log";
  }
  ~Log() override {
    EXPECT_TRUE(configure_logging({}).has_value());
    std::filesystem::remove_all(folder_);
  }

  LogOptions to_file() const { return {.console = false, .file = path_}; }
  void start(const LogOptions& options) {
    const auto status = configure_logging(options);
    ASSERT_TRUE(status.has_value()) << status.error().message;
  }
  static std::vector<std::string> lines_of(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
  }
  std::vector<std::string> lines() const { return lines_of(path_); }

  std::filesystem::path folder_, path_;
};

TEST_F(Log, WritesTheManualsFormat) {
  start(to_file());
  logger("com.betrace.kms.Test").info("Using AWS KMS - region: {}, key: {}", "us-east-1", "k");
  ASSERT_EQ(lines().size(), 1u);
  const std::regex format(R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO  )"
                          R"(\[com\.betrace\.kms\.Test\] \(main\) )"
                          R"(Using AWS KMS - region: us-east-1, key: k)");
  EXPECT_TRUE(std::regex_match(lines()[0], format)) << lines()[0];
}

TEST_F(Log, TimeIsUtcWhateverTheZone) {
  ::setenv("TZ", "America/New_York", 1);
  ::tzset();
  start(to_file());
  const auto before = std::chrono::floor<std::chrono::hours>(std::chrono::system_clock::now());
  logger("com.betrace.kms.Test").info("now");
  ::unsetenv("TZ");
  ::tzset();
  const auto clock = std::chrono::hh_mm_ss(before - std::chrono::floor<std::chrono::days>(before));
  const int hour = std::stoi(lines().at(0).substr(11, 2));
  EXPECT_TRUE(hour == clock.hours().count() || hour == (clock.hours().count() + 1) % 24);
}

TEST_F(Log, NamesTheThreadThatLogs) {
  start(to_file());
  std::jthread([] {
    ::pthread_setname_np(::pthread_self(), "kms-provider-1");
    logger("com.betrace.kms.Test").warn("x");
  }).join();
  EXPECT_NE(lines().at(0).find("] (kms-provider-1) x"), std::string::npos);
}

TEST_F(Log, ACategoryInheritsFromItsLongestPrefix) {
  auto options = to_file();
  options.level = "WARN";
  options.category_levels = {{"com.betrace.kms", "DEBUG"}, {"com.betrace.kms.audit", "OFF"}};
  auto& made_before = logger("com.betrace.kms.early");
  start(options);
  EXPECT_EQ(made_before.level(), spdlog::level::debug);
  EXPECT_EQ(logger("com.betrace.kms").level(), spdlog::level::debug);
  EXPECT_EQ(logger("com.betrace.kms.KeyRotationScheduler").level(), spdlog::level::debug);
  EXPECT_EQ(logger("com.betrace.kms.audit").level(), spdlog::level::off);
  EXPECT_EQ(logger("com.betrace.kms.audit.x").level(), spdlog::level::off);
  EXPECT_EQ(logger("com.betrace.kmsother").level(), spdlog::level::warn);
  EXPECT_EQ(logger("software.amazon.awssdk").level(), spdlog::level::warn);
}

TEST_F(Log, ALevelSetWhileRunningHoldsForWhatIsBelowAndForLoggersToCome) {
  start(to_file());
  auto& below = logger("com.betrace.services.KeyRetrievalService");
  below.debug("hidden");
  ASSERT_TRUE(set_log_level("com.betrace.services", "debug").has_value());
  below.debug("seen");
  logger("com.betrace.services.Later").debug("seen too");
  ASSERT_TRUE(set_log_level("com.betrace.services", "INFO").has_value());
  below.debug("hidden again");
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_TRUE(lines()[0].ends_with("seen"));
  EXPECT_TRUE(lines()[1].ends_with("seen too"));
}

TEST_F(Log, TheEmptyCategoryIsTheRoot) {
  start(to_file());
  ASSERT_TRUE(set_log_level("", "ERROR").has_value());
  EXPECT_EQ(logger("org.example").level(), spdlog::level::err);
}

TEST_F(Log, UnderstandsTheLevelsOfQuarkusAndOfJavaUtilLogging) {
  using namespace spdlog::level;
  const std::pair<const char*, level_enum> levels[] = {
      {"OFF", off},      {"fatal", critical}, {"Error", err},    {"SEVERE", err},  {"warn", warn},
      {"WARNING", warn}, {"INFO", info},      {"CONFIG", info},  {"DEBUG", debug}, {"FINE", debug},
      {"TRACE", trace},  {"FINER", trace},    {"FINEST", trace}, {"ALL", trace}};
  for (const auto& [name, level] : levels) EXPECT_EQ(parse_log_level(name).value(), level) << name;
}

TEST_F(Log, AnUnknownLevelIsNamedWithWhatIsAccepted) {
  for (const auto& status :
       {set_log_level("com.betrace.kms", "LOUD"), configure_logging({.level = "LOUD"}),
        configure_logging({.category_levels = {{"a", "LOUD"}}})}) {
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
    EXPECT_NE(status.error().message.find("'LOUD'"), std::string::npos);
    EXPECT_NE(status.error().message.find("DEBUG"), std::string::npos);
  }
}

TEST_F(Log, ACategoryThatIsNoNameIsRefused) {
  EXPECT_FALSE(set_log_level("a\nb", "INFO").has_value());
  EXPECT_FALSE(set_log_level(std::string(300, 'a'), "INFO").has_value());
}

TEST_F(Log, TheNumberOfCategoriesWithALevelIsBounded) {
  start(to_file());
  bool refused = false;
  for (int i = 0; i < 1100 && !refused; ++i) {
    refused = !set_log_level("c" + std::to_string(i), "INFO").has_value();
  }
  EXPECT_TRUE(refused);
  EXPECT_TRUE(set_log_level("c1", "WARN").has_value());
}

TEST_F(Log, MakesTheFolderOfTheFile) {
  auto options = to_file();
  options.file = folder_ / "betrace" / "logs" / "backend.log";
  start(options);
  logger("com.betrace.kms").info("x");
  EXPECT_EQ(lines_of(options.file).size(), 1u);
  struct stat status{};
  ASSERT_EQ(::stat(options.file.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0007, 0u);
}

TEST_F(Log, AFileThatCannotBeOpenedIsNamed) {
  auto options = to_file();
  options.file = folder_;  // a folder is no file
  const auto status = configure_logging(options);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find(folder_.string()), std::string::npos);
  EXPECT_NE(status.error().message.find("Is a directory"), std::string::npos);
}

TEST_F(Log, AppendsToAFileThatExists) {
  start(to_file());
  logger("com.betrace.kms").info("one");
  start(to_file());
  logger("com.betrace.kms").info("two");
  EXPECT_EQ(lines().size(), 2u);
}

TEST_F(Log, ReopensAfterTheFileWasMovedAway) {
  start(to_file());
  logger("com.betrace.kms").info("one");
  std::filesystem::rename(path_, folder_ / "backend.log.1");
  logger("com.betrace.kms").info("two");
  ASSERT_TRUE(reopen_log_file().has_value());
  logger("com.betrace.kms").info("three");
  flush_logs();
  EXPECT_EQ(lines_of(folder_ / "backend.log.1").size(), 2u);
  ASSERT_EQ(lines().size(), 1u);
  EXPECT_TRUE(lines()[0].ends_with("three"));
}

TEST_F(Log, AFailedReopenKeepsTheOldFile) {
  auto options = to_file();
  const auto inner = folder_ / "sub";
  options.file = inner / "backend.log";
  start(options);
  std::filesystem::rename(inner, folder_ / "moved");
  std::ofstream(inner) << "in the way";
  EXPECT_FALSE(reopen_log_file().has_value());
  logger("com.betrace.kms").info("still here");
  EXPECT_EQ(lines_of(folder_ / "moved" / "backend.log").size(), 1u);
}

TEST_F(Log, AWriteThatFailsDoesNotStopTheService) {
  auto options = to_file();
  options.file = "/dev/full";
  start(options);
  logger("com.betrace.kms").error("lost");
}

TEST_F(Log, JsonLinesAreNumbered) {
  auto options = to_file();
  options.file_json = true;
  start(options);
  logger("com.betrace.kms").info("first \"quoted\"");
  logger("com.betrace.kms").info("second");
  ASSERT_EQ(lines().size(), 2u);
  const std::regex sequence(R"("sequence":(\d+))");
  std::smatch first, second;
  const std::string a = lines()[0], b = lines()[1];
  ASSERT_TRUE(std::regex_search(a, first, sequence));
  ASSERT_TRUE(std::regex_search(b, second, sequence));
  EXPECT_EQ(std::stoull(first[1]) + 1, std::stoull(second[1]));
}

TEST_F(Log, WritesToStandardErrorAndTheFileTogether) {
  auto options = to_file();
  options.console = true;
  options.json = true;
  testing::internal::CaptureStderr();
  start(options);
  logger("com.betrace.kms").info("both");
  const std::string console = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(console.starts_with("{\"timestamp\"")) << console;
  EXPECT_TRUE(lines().at(0).ends_with("[com.betrace.kms] (main) both"));
}

TEST_F(Log, LinesOfManyThreadsStayWhole) {
  start(to_file());
  constexpr int threads = 4, each = 200;
  {
    std::vector<std::jthread> writers;
    for (int t = 0; t < threads; ++t) {
      writers.emplace_back([t] {
        for (int i = 0; i < each; ++i) {
          logger("com.betrace.kms").info("thread {} line {} {}", t, i, std::string(500, 'x'));
        }
      });
    }
  }
  const auto all = lines();
  ASSERT_EQ(all.size(), threads * each);
  for (const auto& line : all) EXPECT_TRUE(line.ends_with(std::string(500, 'x')));
}

TEST_F(Log, LevelsMayChangeWhileOthersLog) {
  start(to_file());
  std::atomic<bool> stop{false};
  std::jthread writer([&] {
    while (!stop) logger("com.betrace.kms.busy").debug("x");
  });
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(set_log_level("com.betrace.kms", i % 2 == 0 ? "DEBUG" : "INFO").has_value());
  }
  stop = true;
}

}  // namespace
}  // namespace betrace::kms
