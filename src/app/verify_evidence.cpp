#include "app/verify_evidence.h"

#include <cerrno>
#include <fstream>
#include <ostream>
#include <system_error>

#include <fmt/format.h>

#include "app/progress.h"
#include "base/crypto.h"
#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"
#include "evidence/bundle.h"
#include "evidence/bundle_lines.h"
#include "evidence/bundle_report.h"

namespace betrace::kms {
namespace {

constexpr std::size_t lines_at_a_time = 4096;

// What is given, or the content of the file it names with @.
Result<std::string> given(std::string_view option, const std::string& text) {
  auto content = text;
  if (text.starts_with('@')) {
    auto file = TRY(read_whole_file(text.substr(1)));
    if (!file) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: there is no file {}", option, text.substr(1)));
    }
    content = *std::move(file);
  }
  while (!content.empty() && (content.back() == '\n' || content.back() == '\r')) {
    content.pop_back();
  }
  return content;
}

constexpr std::string_view before_signatures = "\n\n\u2014 ";  // in a signed note

Result<BundleTrust> trust_of(const VerifyEvidenceOptions& options) {
  BundleTrust trust;
  if (!options.service_key.empty()) {
    trust.service_key = parse_ed25519_public(TRY(given("--service-key", options.service_key)));
    if (!trust.service_key) {
      return fail(ErrorCode::invalid_argument,
                  "--service-key: accepted is an Ed25519 public key, as PEM or as 'publicKey' of "
                  "GET /api/public-keys");
    }
  }
  if (!options.log_key.empty()) {
    auto key = NoteKey::parse(TRY(given("--log-key", options.log_key)));
    if (!key) return fail(ErrorCode::invalid_argument, "--log-key: " + key.error().message);
    trust.log_key = *std::move(key);
  }
  if (!options.checkpoint.empty()) {
    auto note = TRY(read_whole_file(options.checkpoint));
    if (!note || !is_valid_utf8(*note) || !note->contains(before_signatures)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--checkpoint: there is no checkpoint in {}", options.checkpoint));
    }
    trust.held = *std::move(note);
  }
  return trust;
}

Result<BundleReport> verify(BundleLines& lines, BundleTrust trust, const World& world) {
  std::string line;
  TRY(lines.next(line));
  auto verifier = TRY(BundleVerifier::begin(line, std::move(trust)));
  Progress progress(world);
  std::vector<std::string> batch;
  std::uint64_t done = 0;
  for (bool more = true; more;) {
    batch.clear();
    while (batch.size() < lines_at_a_time && (more = TRY(lines.next(line)))) {
      batch.push_back(line);
    }
    verifier.add(batch);
    done += batch.size();
    progress.draw(progress_bar(done, verifier.leaves_expected()) + " spans");
  }
  progress.end();
  return std::move(verifier).finish(lines.cut_off());
}

}  // namespace

ExitCode verify_evidence(const VerifyEvidenceOptions& options, const World& world) {
  auto trust = trust_of(options);
  if (!trust) return complain(world, trust.error().message, ExitCode::usage);
  std::ifstream file(options.file, std::ios::binary);
  if (!file.is_open()) {
    return complain(world, "cannot read " + options.file, ExitCode::usage);
  }
  BundleLines lines(file);
  const auto report = verify(lines, *std::move(trust), world);
  if (!report) {
    return complain(world, fmt::format("{}: {}", options.file, report.error().message),
                    ExitCode::usage);
  }
  world.out << (options.json ? report_json(*report) : report_text(*report));
  if (!options.html.empty()) {
    // Not by a rename: it may be /dev/stdout.
    std::ofstream page(options.html, std::ios::binary | std::ios::trunc);
    page << report_html(*report);
    page.close();
    if (!page) {
      return complain(
          world,
          fmt::format("cannot write {}: {}", options.html, std::generic_category().message(errno)),
          ExitCode::usage);
    }
  }
  return report->valid() ? ExitCode::ok : ExitCode::check_failed;
}

}  // namespace betrace::kms
