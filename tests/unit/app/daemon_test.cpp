#include "app/daemon.h"

#include <csignal>
#include <fstream>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/hardening.h"
#include "app/program.h"
#include "fake_world.h"
#include "support/temporary_directory.h"

namespace betrace::kms {
namespace {

constexpr std::chrono::seconds patience{60};

// `serve` in a process of its own, its standard error in a file.
class Daemon {
 public:
  Daemon(const TemporaryDirectory& directory, std::vector<std::string> arguments)
      : log_(directory.file("stderr")) {
    arguments.insert(arguments.begin(), {"serve", "-Dquarkus.http.port=0",
                                         "-Dbetrace.kms.data-dir=" + directory.file("data")});
    process_ = fork();
    if (process_ != 0) return;
    dup2(open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    std::istringstream in;
    std::ofstream out("/dev/null");
    std::ofstream err(log_, std::ios::app);
    const World world{.in = in,
                      .out = out,
                      .err = err,
                      .environment = [](std::string_view) { return std::nullopt; },
                      .http_client = {}};
    const auto code = run_command(arguments, world);
    err.flush();
    _exit(static_cast<int>(code));
  }
  ~Daemon() {
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
  }
  bool wait_for(std::string_view text) const {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (log().find(text) == std::string::npos) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }
  void signal(int number) const { kill(process_, number); }
  // The exit code, or minus the signal that ended it.
  int wait_for_end() {
    int status = 0;
    waitpid(std::exchange(process_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  std::string log_;
  pid_t process_ = 0;
};

TEST(Serve, EndsWithZeroOnEitherSignal) {
  for (const int number : {SIGTERM, SIGINT}) {
    const TemporaryDirectory directory;
    Daemon daemon(directory, {});
    ASSERT_TRUE(daemon.wait_for("listening on http://127.0.0.1:")) << daemon.log();
    daemon.signal(number);
    EXPECT_EQ(daemon.wait_for_end(), 0) << daemon.log();
    EXPECT_NE(daemon.log().find("Stopped"), std::string::npos);
  }
}

TEST(Serve, SaysWhatUsersLookForAndNeverTheToken) {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {});
  ASSERT_TRUE(daemon.wait_for("KMS cache warmed (0 tenants)")) << daemon.log();
  const auto log = daemon.log();
  EXPECT_NE(log.find("Initializing KMS provider: local"), std::string::npos);
  EXPECT_NE(log.find("WARN  [com.betrace.kms]"), std::string::npos);
  EXPECT_NE(log.find("⚠️  Using LocalKmsAdapter - NOT FOR PRODUCTION USE"), std::string::npos);
  EXPECT_NE(log.find(directory.file("data/admin-token")), std::string::npos);
  std::string token;
  std::ifstream(directory.file("data/admin-token")) >> token;
  ASSERT_EQ(token.size(), 43U);
  EXPECT_EQ(log.find(token), std::string::npos);
}

TEST(Serve, OpensItsLogFileAnewOnHangUp) {
  const TemporaryDirectory directory;
  const auto path = directory.file("backend.log");
  Daemon daemon(directory, {"-Dquarkus.log.file.enable=true", "-Dquarkus.log.file.path=" + path});
  ASSERT_TRUE(daemon.wait_for("listening on")) << daemon.log();
  std::filesystem::rename(path, path + ".1");
  daemon.signal(SIGHUP);
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!std::filesystem::exists(path) && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait_for_end(), 0);
}

TEST(Serve, EndsWithTwoAndOneLineForEachMistake) {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"-Dkms.cache.max-size=x", "-Dkms.timeout-ms=-1"});
  EXPECT_EQ(daemon.wait_for_end(), 2);
  const auto log = daemon.log();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2) << log;
  EXPECT_NE(log.find("betrace-kms: kms.cache.max-size='x' (-D)"), std::string::npos) << log;
}

TEST(Serve, AProviderWithoutItsSettingsEndsWithTwo) {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"-Dbetrace.kms.provider=azure"});
  EXPECT_EQ(daemon.wait_for_end(), 2);
  EXPECT_NE(daemon.log().find("azure.keyvault.uri is not set"), std::string::npos) << daemon.log();
}

TEST(Serve, TakesAConfiguredTokenAndMakesNone) {
  const TemporaryDirectory directory;
  Daemon daemon(directory, {"-Dbetrace.admin.token=canary-token-of-the-test"});
  ASSERT_TRUE(daemon.wait_for("listening on")) << daemon.log();
  EXPECT_FALSE(std::filesystem::exists(directory.file("data/admin-token")));
  EXPECT_EQ(daemon.log().find("canary"), std::string::npos) << daemon.log();
}

TEST(Hardening, LeavesNoCoreAndNoFileForOthers) {
  const auto child = fork();
  if (child == 0) {
    harden_process();
    rlimit core{};
    getrlimit(RLIMIT_CORE, &core);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    const bool hard = prctl(PR_GET_DUMPABLE) == 0 && core.rlim_max == 0 && umask(0) == 077 &&
                      files.rlim_cur == files.rlim_max;
    _exit(hard ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Program, PrintsVersionConfigurationAndCompletion) {
  FakeWorld world;
  EXPECT_EQ(run_command({"version", "--json"}, world.world()), ExitCode::ok);
  EXPECT_TRUE(world.out.str().starts_with("{\"version\":\"")) << world.out.str();
  world.out.str("");
  EXPECT_EQ(run_command({"config", "-Dkms.cache.max-size=7"}, world.world()), ExitCode::ok);
  EXPECT_NE(world.out.str().find("kms.cache.max-size=7"), std::string::npos) << world.out.str();
  EXPECT_EQ(run_command({"config", "-Dkms.cache.max-size=no"}, world.world()), ExitCode::usage);
  EXPECT_EQ(run_command({"completion", "fish"}, world.world()), ExitCode::ok);
  EXPECT_EQ(run_command({"--version"}, world.world()), ExitCode::ok);
}

TEST(Program, AClientFindsAServiceByTheConfigurationItReads) {
  const TemporaryDirectory directory;
  directory.write("admin-token", "tok-from-data-dir\n");
  const auto file = directory.write(
      "app.properties", "quarkus.http.port=8099\nbetrace.kms.data-dir=" + directory.path() + "\n");
  FakeWorld world;
  world.answer(200, R"({"status":"HEALTHY"})");
  EXPECT_EQ(run_command({"status", "--config", file}, world.world()), ExitCode::ok);
  ASSERT_EQ(world.calls.size(), 1U);
  EXPECT_EQ(world.calls[0].url, "http://127.0.0.1:8099/api/admin/kms/status");
  EXPECT_EQ(world.calls[0].headers.back().second, "Bearer tok-from-data-dir");
  EXPECT_EQ(run_command({"status", "--config", file, "-Dquarkus.http.port=8100"}, world.world()),
            ExitCode::ok);
  EXPECT_EQ(world.calls[1].url, "http://127.0.0.1:8100/api/admin/kms/status");
}

TEST(Program, AConfigurationThatWasAskedForMustBeThere) {
  const TemporaryDirectory directory;
  FakeWorld world;
  EXPECT_EQ(run_command({"status", "--config", directory.file("none")}, world.world()),
            ExitCode::usage);
  EXPECT_NE(world.err.str().find(directory.file("none")), std::string::npos) << world.err.str();
}

}  // namespace
}  // namespace betrace::kms
