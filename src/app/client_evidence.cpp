// evidence export and evidence checkpoint: an auditor's bundle, or a checkpoint to keep, from a
// running service.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "app/client_session.h"
#include "app/progress.h"
#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

std::uint64_t decimal_of(const json::object& object, std::string_view name) {
  const auto text = text_of(object, name);
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

ExitCode cannot_write(const ClientSession& session, const std::string& path) {
  return complain(session.world,
                  fmt::format("cannot write {}: {}", path, std::generic_category().message(errno)),
                  ExitCode::usage);
}

// How many leaves the checkpoint in a file is over: the second line of the note.
Got<std::string> held_size(const ClientSession& session) {
  const auto& path = session.line.held_checkpoint;
  const auto note = read_whole_file(path);
  if (note && *note) {
    const std::string_view text = **note;
    const auto first = text.find('\n');
    const auto second = first == text.npos ? first : text.find('\n', first + 1);
    const auto size = second == text.npos ? "" : text.substr(first + 1, second - first - 1);
    const bool digits = std::ranges::all_of(size, [](char c) { return c >= '0' && c <= '9'; });
    if (!size.empty() && digits) return std::string(size);
  }
  return std::unexpected(complain(
      session.world, fmt::format("--checkpoint {}: that is no checkpoint", path), ExitCode::usage));
}

Got<std::string> head_path(const ClientSession& session) {
  std::string query;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    query += fmt::format("{}{}={}", query.empty() ? '?' : '&', name, percent_encode(value));
  };
  add("from", session.line.from);
  add("to", session.line.to);
  if (!session.line.held_checkpoint.empty()) add("held", TRY(held_size(session)));
  return TRY(session.tenant_path("/evidence/bundle")) + query;
}

// The leaves behind the head, as long as the file takes them.
Got<ExitCode> write_leaves(const ClientSession& session, std::uint64_t begin, std::uint64_t end,
                           std::ostream& out) {
  Progress progress(session.world);
  for (auto at = begin; at < end && out;) {
    const auto path =
        fmt::format("{}?begin={}&end={}", TRY(session.tenant_path("/evidence/leaves")), at, end);
    const auto answer = TRY(session.ask("GET", path, {}, "application/x-ndjson"));
    const auto lines = static_cast<std::uint64_t>(std::ranges::count(answer.body, '\n'));
    if (lines == 0) {
      return complain(session.world, fmt::format("the service answered no leaves from {} on", at),
                      ExitCode::unreachable);
    }
    out.write(answer.body.data(), static_cast<std::streamsize>(answer.body.size()));
    at += lines;
    progress.draw(progress_bar(at - begin, end - begin) + " spans");
  }
  return ExitCode::ok;
}

// Never half a bundle under its name; what is no file, a pipe or /dev/null, is written as it is.
Got<ExitCode> write_bundle(const ClientSession& session, std::string_view head, std::uint64_t begin,
                           std::uint64_t end) {
  const auto& path = session.line.output;
  std::error_code error;
  const bool in_place = fs::exists(path, error) && !fs::is_regular_file(path, error);
  const auto draft = in_place ? path : path + ".part";
  std::ofstream file(draft, std::ios::binary | std::ios::trunc);
  file << head << '\n';
  auto written = write_leaves(session, begin, end, file);
  file.close();
  if (written && *written == ExitCode::ok &&
      (!file || (!in_place && std::rename(draft.c_str(), path.c_str()) != 0))) {
    written = cannot_write(session, path);
  }
  if (!in_place && (!written || *written != ExitCode::ok)) std::remove(draft.c_str());
  return written;
}

Got<ExitCode> export_bundle(const ClientSession& session) {
  const auto answer = TRY(session.ask("GET", TRY(head_path(session))));
  const auto head = TRY(session.object(answer));
  const auto begin = decimal_of(head, "begin"), end = decimal_of(head, "end");
  const auto* const line = head.if_contains("head");
  if (line == nullptr || !line->is_string()) {
    return complain(session.world, "the service answered no head", ExitCode::unreachable);
  }
  const auto written = TRY(write_bundle(session, line->get_string(), begin, end));
  if (written != ExitCode::ok) return written;
  if (session.line.json) {
    session.world.out << fmt::format(R"({{"begin":"{}","end":"{}"}})", begin, end) << '\n';
  } else {
    session.world.out << fmt::format(
        "{} spans of tenant {}; verify them with: betrace-kms "
        "verify-evidence {}\n",
        end - begin, session.line.tenant, session.line.output);
  }
  return ExitCode::ok;
}

Got<ExitCode> checkpoint(const ClientSession& session) {
  const auto answer =
      TRY(session.ask("GET", TRY(session.tenant_path("/evidence/checkpoint")), {}, "text/plain"));
  session.world.out << std::string_view(answer.body);
  return ExitCode::ok;
}

Got<ExitCode> keys(const ClientSession& session) {
  const auto log = TRY(session.object(TRY(session.ask("GET", "/api/compliance/log-key"))));
  const auto service = TRY(session.object(TRY(session.ask("GET", "/api/public-keys"))));
  const auto* const list = service.if_contains("keys");
  std::string service_key;
  if (list != nullptr && list->is_array() && !list->get_array().empty() &&
      list->get_array().front().is_object()) {
    service_key = text_of(list->get_array().front().get_object(), "publicKey");
  }
  const auto log_key = text_of(log, "key");
  if (session.line.json) {
    session.world.out << json::serialize(
                             json::object{{"logKey", log_key}, {"serviceKey", service_key}})
                      << '\n';
  } else {
    session.world.out << fmt::format("service key  {}\nlog key      {}\n", service_key, log_key);
  }
  return ExitCode::ok;
}

}  // namespace

Got<ExitCode> run_evidence_command(const ClientSession& session) {
  if (session.line.command == "evidence export") return export_bundle(session);
  return session.line.command == "evidence keys" ? keys(session) : checkpoint(session);
}

}  // namespace betrace::kms
