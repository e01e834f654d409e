#include "app/store_commands.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <ostream>

#include <fmt/format.h>

#include "app/admin_token.h"
#include "app/progress.h"
#include "app/restore.h"
#include "app/wiring_parts.h"
#include "base/canonical_json.h"
#include "base/json_note.h"
#include "base/try.h"
#include "core/history.h"
#include "core/store_check.h"
#include "stores/sqlite_backup.h"

namespace betrace::kms {
namespace {

constexpr std::array<std::string_view, 3> names = {"backup", "restore", "check"};

std::string keys_json(const StoreReport& report) {
  std::string out = "[";
  for (const auto& [kind, count] : report.keys) {
    if (out.size() > 1) out += ',';
    out += JsonNote()
               .text("keyType", to_string(kind.first))
               .text("state", to_string(kind.second))
               .count("keys", count)
               .str();
  }
  return out + "]";
}

std::string problems_json(const std::vector<StoreProblem>& problems) {
  std::string out = "[";
  for (const auto& each : problems) {
    if (out.size() > 1) out += ',';
    out += JsonNote()
               .text("tenantId", each.tenant)
               .text("keyId", each.key)
               .text("problem", each.problem)
               .str();
  }
  return out + "]";
}

// One word of a shell, whatever is in it.
std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) c == '\'' ? out += "'\\''" : out += c;
  return out + "'";
}

class StoreCommand {
 public:
  StoreCommand(const CommandLine& line, const World& world, const Config& config)
      : line_(line), world_(world), config_(config), progress_(world) {}

  Result<ExitCode> run() {
    store_ = TRY(store_file(config_));
    if (line_.command == "backup") return backup();
    if (line_.command == "restore") return restore();
    return check();
  }

 private:
  CopyProgress draw(std::string unit) {
    return [this, unit = std::move(unit)](std::uint64_t done, std::uint64_t total) {
      progress_.draw(progress_bar(done, total) + unit);
    };
  }

  Result<ExitCode> backup() {
    TRY(copy_sqlite_store(store_, line_.file, draw(" pages")));
    progress_.end();
    // The backup is made, whatever can be said of it: an older release's schema is not read here.
    const auto report = look(line_.file, {}).value_or(StoreReport());
    std::error_code error;
    const auto bytes = std::filesystem::file_size(line_.file, error);
    if (line_.json) {
      world_.out << JsonNote()
                        .text("file", line_.file)
                        .count("bytes", bytes)
                        .count("tenants", report.tenants)
                        .count("destroyedTenants", report.destroyed_tenants)
                        .raw("keys", keys_json(report))
                        .str()
                 << '\n';
    } else {
      world_.out << fmt::format("{}: {} tenants, {} key versions, {} bytes\n",
                                printable(line_.file), report.tenants, all_keys(report), bytes);
    }
    remind_of_the_master_key(report);
    return ExitCode::ok;
  }

  void remind_of_the_master_key(const StoreReport& report) {
    const bool local = std::ranges::find(report.wrappings, "local", &WrappingCount::provider) !=
                       report.wrappings.end();
    if (!local) return;
    world_.err << fmt::format(
        "its keys open only with the local master key {}: keep a copy of that file, apart from "
        "the backup\n",
        config_.text("betrace.kms.local.master-key-file"));
  }

  Result<ExitCode> restore() {
    if (line_.file.empty()) {
      return fail(ErrorCode::invalid_argument, "restore: the backup's FILE is an empty word");
    }
    RestoreRequest request{.backup = line_.file == "-" ? "" : line_.file,
                           .store = store_,
                           .witness_dir = config_.text("betrace.kms.witness-dir"),
                           .accept_rollback = line_.accept_rollback};
    if (request.backup.empty() && !request.accept_rollback) {
      return fail(ErrorCode::invalid_argument, "restore: the backup's FILE is missing");
    }
    TRY(make_data_directory(config_.text("betrace.kms.data-dir")));
    TRY(make_data_directory(request.witness_dir, "betrace.kms.witness-dir"));
    const auto report = restore_store(request, draw(" pages"));
    progress_.end();
    TRY(report);
    line_.json ? print_json(*report) : print(*report);
    return ExitCode::ok;
  }

  void print_json(const RestoreReport& report) {
    std::string revocations = "[";
    for (const auto& each : report.lost.revocations) {
      if (revocations.size() > 1) revocations += ',';
      revocations += JsonNote()
                         .text("tenantId", each.tenant)
                         .text("keyId", each.key)
                         .text("reason", each.reason)
                         .str();
    }
    world_.out << JsonNote()
                      .text("store", store_)
                      .count("epoch", report.epoch)
                      .count("highWaterMark", report.mark_epoch)
                      .flag("rolledBack", report.rolled_back)
                      .flag("lostKnown", report.lost.known)
                      .count("tenantsLost", report.lost.tenants)
                      .count("keyVersionsLost", report.lost.key_versions)
                      .raw("revocationsLost", revocations + "]")
                      .count("keyDestructionsLost", report.lost.destructions)
                      .count("tenantsDestroyedAgain", report.destroyed_again)
                      .count("keysDestroyedAgain", report.keys_destroyed_again)
                      .text("kept", report.kept)
                      .text("highWaterMarkKept", report.mark_kept)
                      .str()
               << '\n';
  }

  void print(const RestoreReport& report) {
    auto& out = world_.out;
    if (line_.file == "-") {
      out << (report.rolled_back ? fmt::format("{}: accepted at epoch {}; the high-water mark was "
                                               "{}\n",
                                               store_, report.epoch, report.mark_epoch)
                                 : fmt::format("{}: not older than its high-water mark, nothing to "
                                               "accept\n",
                                               store_));
    } else {
      out << fmt::format("{}: restored from {}\n", store_, printable(line_.file));
    }
    if (report.destroyed_again > 0) {
      out << fmt::format("{} tenants were destroyed before and are destroyed again\n",
                         report.destroyed_again);
    }
    if (report.keys_destroyed_again > 0) {
      out << fmt::format("{} key versions were destroyed before and are destroyed again\n",
                         report.keys_destroyed_again);
    }
    if (!report.lost.known) {
      out << fmt::format("what is lost is not known: {}\n", printable(report.lost.unreadable));
    } else if (report.rolled_back) {
      out << fmt::format(
          "lost: {} tenants, {} key versions, {} revocations, {} destructions of keys\n",
          report.lost.tenants, report.lost.key_versions, report.lost.revocations.size(),
          report.lost.destructions);
    }
    for (const auto& each : report.lost.revocations) {
      out << fmt::format("revoke again: betrace-kms revoke --tenant {} --key-id {} --reason {}\n",
                         shell_quoted(each.tenant), each.key, shell_quoted(printable(each.reason)));
    }
    if (!report.kept.empty()) out << fmt::format("what was there is kept: {}\n", report.kept);
    if (!report.mark_kept.empty()) {
      out << fmt::format("the high-water mark is kept: {}\n", report.mark_kept);
    }
  }

  Result<ExitCode> check() {
    const auto file = line_.file == "-" ? store_ : line_.file;
    const auto damage = TRY(integrity_of_sqlite_store(file));
    auto report = TRY(look(file, draw(" tenants")));
    progress_.end();
    for (const auto& each : damage) {
      ++report.problems_found;
      report.problems.insert(report.problems.begin(), {.problem = each});
    }
    std::error_code error;
    if (std::filesystem::equivalent(file, store_, error)) {
      if (const auto status = compare_with_witness(); !status) {
        ++report.problems_found;
        report.problems.insert(report.problems.begin(), {.problem = status.error().message});
      }
    }
    const bool ok = report.problems_found == 0;
    line_.json ? print_json(file, report) : print(file, report);
    return ok ? ExitCode::ok : ExitCode::check_failed;
  }

  Result<StoreReport> look(const std::string& file, const CopyProgress& progress) {
    const auto store = TRY(open_sqlite_store_read_only(file));
    return check_store(
        CallContext::system("check"), *store,
        progress ? progress : [](std::uint64_t, std::uint64_t) {});
  }

  // The store in use, beside what is written down outside it.
  Status compare_with_witness() {
    const Witness witness(config_.text("betrace.kms.witness-dir"));
    const auto store = TRY(open_sqlite_store_read_only(store_));
    const auto history = TRY(read_history(CallContext::system("check"), *store, witness));
    return check_not_rolled_back(history, witness);
  }

  static std::uint64_t all_keys(const StoreReport& report) {
    std::uint64_t all = 0;
    for (const auto& [kind, count] : report.keys) all += count;
    return all;
  }

  void print_json(const std::string& file, const StoreReport& report) {
    world_.out << JsonNote()
                      .flag("ok", report.problems_found == 0)
                      .text("store", file)
                      .count("tenants", report.tenants)
                      .count("destroyedTenants", report.destroyed_tenants)
                      .raw("keys", keys_json(report))
                      .count("problemsFound", report.problems_found)
                      .raw("problems", problems_json(report.problems))
                      .str()
               << '\n';
  }

  void print(const std::string& file, const StoreReport& report) {
    auto& out = world_.out;
    out << fmt::format("{}: {} tenants, {} destroyed\n", printable(file), report.tenants,
                       report.destroyed_tenants);
    for (const auto& [kind, count] : report.keys) {
      out << fmt::format("{:>10} {} keys {}\n", count, to_string(kind.first),
                         to_string(kind.second));
    }
    for (const auto& each : report.wrappings) {
      out << fmt::format("{:>10} wrapped by {} {}\n", each.keys, printable(each.provider),
                         printable(each.master_key_id));
    }
    for (const auto& each : report.problems) {
      out << fmt::format("problem: {}{}{}{}{}\n", printable(each.tenant),
                         each.key.empty() ? "" : " ", each.key, each.tenant.empty() ? "" : ": ",
                         printable(each.problem));
    }
    out << (report.problems_found == 0 ? std::string("ok\n")
                                       : fmt::format("{} problems\n", report.problems_found));
  }

  const CommandLine& line_;
  const World& world_;
  const Config& config_;
  Progress progress_;
  std::string store_;
};

}  // namespace

bool is_store_command(std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

ExitCode run_store_command(const CommandLine& line, const World& world, const Config& config) {
  StoreCommand command(line, world, config);
  const auto code = command.run();
  if (code) return *code;
  // A refusal is a finding; a file that is not there, or a wrong word, is a mistake.
  const bool usage = code.error().code == ErrorCode::invalid_argument ||
                     code.error().code == ErrorCode::not_implemented;
  return complain(world, code.error().message, usage ? ExitCode::usage : ExitCode::check_failed);
}

}  // namespace betrace::kms
