#include "app/daemon.h"

#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pthread.h>

#include "app/admin_token.h"
#include "app/daemon_client.h"
#include "app/hardening.h"
#include "app/wiring.h"
#include "base/encoding.h"
#include "base/try.h"
#include "telemetry/log.h"
#include "telemetry/version.h"

namespace betrace::kms {
namespace {

constexpr std::chrono::seconds drain_timeout{25};
constexpr std::chrono::seconds end_timeout{10};
constexpr std::size_t good_token_size = 16;

spdlog::logger& log() { return logger(log_category::kms); }

sigset_t signals_of_interest() {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, each);
  return set;
}

Status start_logging(const Config& config) {
  LogOptions options{.level = config.text("quarkus.log.level"),
                     .category_levels = config.log_category_levels(),
                     .console = config.flag("quarkus.log.console.enable"),
                     .json = config.flag("quarkus.log.console.json"),
                     .file = {},
                     .file_json = config.flag("quarkus.log.file.json")};
  if (config.flag("quarkus.log.file.enable")) options.file = config.text("quarkus.log.file.path");
  TRY(configure_logging(options));
  for (const auto& warning : config.warnings()) log().warn("{}", warning);
  return {};
}

std::string source_of(const Config& config, std::string_view key) {
  for (auto& entry : config.entries()) {
    if (entry.key == key) return entry.source;
  }
  return "the configuration";
}

Result<AdminAccess> admin_access(const Config& config) {
  auto configured = config.secret("betrace.admin.token");
  if (!configured.empty()) {
    const auto text = as_text(configured.expose());
    const auto source = source_of(config, "betrace.admin.token");
    if (!is_token(text)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("betrace.admin.token ({}): visible ASCII without blanks is expected",
                              source));
    }
    if (text.size() < good_token_size) {
      log().warn("betrace.admin.token ({}) has fewer than {} characters and can be guessed", source,
                 good_token_size);
    }
    log().info("Admin token: as configured ({})", source);
    return AdminAccess{.token = std::move(configured), .place = "as configured: " + source};
  }
  const auto data_dir = std::filesystem::absolute(config.text("betrace.kms.data-dir"));
  const auto path = (data_dir / admin_token_file_name).lexically_normal().string();
  const auto token = TRY(read_or_make_token_file(path));
  if (readable_by_others(path)) {
    log().warn("The admin token file {} can be read by other users; chmod 600 it", path);
  }
  log().info("Admin token: in the file {}", path);
  return AdminAccess{.token = SecretBytes::copy_of(as_bytes(token)), .place = "the file " + path};
}

void say_what_is_exposed(const Config& config) {
  const auto host = config.text("quarkus.http.host");
  if (config.text("quarkus.http.insecure-requests") == "enabled" && !is_loopback_host(host)) {
    log().warn(
        "Listening without TLS on {} (quarkus.http.host), beyond loopback: tokens and plaintexts "
        "cross the network in the clear; set quarkus.http.ssl.certificate.files, .key-files and "
        "quarkus.http.insecure-requests=disabled",
        host);
  }
  if (secret_memory_state().locked) return;
  log().warn(
      "Secret memory is not locked: keys may be written to swap; raise the limit of locked memory "
      "(ulimit -l, LimitMEMLOCK=)");
}

void say_ready(const Core& core, const Front& front) {
  log().info("Store: {}", core.store_description());
  log().info("BeTrace KMS {} listening on {}", version(), fmt::join(front.addresses(), ", "));
}

void read_log_levels(const ConfigReader& reread) {
  const auto config = reread();
  const auto set =
      config ? set_log_levels(config->text("quarkus.log.level"), config->log_category_levels())
             : std::unexpected(config.error());
  if (set) {
    log().info("Log levels are those of the configuration; its other changes wait for a restart");
  } else {
    log().error("the log levels were not read anew: {}", set.error().message);
  }
}

void on_hang_up(Front& front, const ConfigReader& reread) {
  if (const auto reopened = reopen_log_file(); !reopened) {
    log().error("cannot reopen the log file: {}", reopened.error().message);
  }
  if (const auto reloaded = front.reload_tls(); !reloaded) {
    log().error("the TLS certificate was not read anew: {}", reloaded.error().message);
  }
  read_log_levels(reread);
}

int wait_for_end(Front& front, const ConfigReader& reread) {
  const auto signals = signals_of_interest();
  for (;;) {
    int caught = 0;
    if (sigwait(&signals, &caught) != 0) continue;
    if (caught != SIGHUP) return caught;
    on_hang_up(front, reread);
  }
}

// The next one has its default effect: whoever asks twice does not want to wait.
void let_the_next_signal_kill() {
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  auto signals = signals_of_interest();
  sigdelset(&signals, SIGHUP);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

// A provider that hangs must not keep the process: all that was asked for has been answered.
std::jthread end_the_process_in(std::chrono::seconds timeout) {
  return std::jthread([timeout](std::stop_token stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    if (wake.wait_for(lock, stop, timeout, [&] { return stop.stop_requested(); })) return;
    log().warn("Stopped without waiting for a call to the provider that does not end");
    flush_logs();
    std::_Exit(EXIT_SUCCESS);
  });
}

}  // namespace

Status serve(const Config& config, const ConfigReader& reread) {
  const auto signals = signals_of_interest();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  TRY(start_logging(config));
  TRY(make_data_directory(config.text("betrace.kms.data-dir")));
  auto access = TRY(admin_access(config));
  auto core = TRY(Core::open(config));
  auto front = TRY(Front::start(*core, config, std::move(access)));
  say_what_is_exposed(config);
  core->start(config);
  say_ready(*core, *front);

  forget_start_up_code();
  const int caught = wait_for_end(*front, reread);
  let_the_next_signal_kill();
  log().info("Stopping on {}: requests in flight are finished first",
             caught == SIGINT ? "SIGINT" : "SIGTERM");
  flush_logs();
  if (!front->drain(drain_timeout)) {
    log().warn("Stopped with requests unfinished after {} s", drain_timeout.count());
    flush_logs();
    std::_Exit(EXIT_FAILURE);
  }
  const auto limit = end_the_process_in(end_timeout);
  front.reset();
  core.reset();
  log().info("Stopped");
  flush_logs();
  return {};
}

}  // namespace betrace::kms
