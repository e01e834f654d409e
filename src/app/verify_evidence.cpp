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
#include "evidence/bundle_report.h"

namespace betrace::kms {
namespace {

constexpr std::size_t lines_at_a_time = 4096;
constexpr std::size_t head_bytes_max = 256U << 20, line_bytes_max = 1U << 20;

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

Result<Bytes> parse_service_key(std::string text) {
  if (text.starts_with("-----BEGIN")) {
    text.erase(0, text.find('\n') + 1);
    text.erase(std::min(text.find("-----END"), text.size()));
    std::erase_if(text, [](char c) { return c == '\n' || c == '\r'; });
  }
  const auto bytes = base64_decode(text);
  if (bytes && bytes->size() == 32) return Bytes(bytes->begin(), bytes->end());
  if (bytes && bytes->size() > 32) {
    const Bytes raw(bytes->end() - 32, bytes->end());
    if (std::ranges::equal(*bytes, ed25519_spki(raw))) return raw;
  }
  return fail(ErrorCode::invalid_argument,
              "--service-key: accepted is an Ed25519 public key, as PEM or as 'publicKey' of GET "
              "/api/public-keys");
}

Result<BundleTrust> trust_of(const VerifyEvidenceOptions& options) {
  BundleTrust trust;
  if (!options.service_key.empty()) {
    trust.service_key = TRY(parse_service_key(TRY(given("--service-key", options.service_key))));
  }
  if (!options.log_key.empty()) {
    auto key = NoteKey::parse(TRY(given("--log-key", options.log_key)));
    if (!key) return fail(ErrorCode::invalid_argument, "--log-key: " + key.error().message);
    trust.log_key = *std::move(key);
  }
  if (!options.checkpoint.empty()) {
    auto note = TRY(read_whole_file(options.checkpoint));
    if (!note || note->empty()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--checkpoint: there is no checkpoint in {}", options.checkpoint));
    }
    trust.held = *std::move(note);
  }
  return trust;
}

class LineReader {
 public:
  explicit LineReader(const std::string& path) : file_(path, std::ios::binary) {}
  bool is_open() const { return file_.is_open(); }
  bool cut_off() const { return cut_off_; }
  std::uint64_t lines() const { return lines_; }

  // False at the end. Errors: invalid_argument for a line that is too long and for what cannot be
  // read: a folder, a disk that fails.
  Result<bool> next(std::string& line, std::size_t bytes_max) {
    try {
      return read(line, bytes_max);
    } catch (const std::ios_base::failure&) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("it cannot be read: {}", std::generic_category().message(errno)));
    }
  }

 private:
  Result<bool> read(std::string& line, std::size_t bytes_max) {
    line.clear();
    for (int c = 0; (c = file_.rdbuf()->sbumpc()) != std::char_traits<char>::eof();) {
      if (c == '\n') {
        ++lines_;
        return true;
      }
      if (line.size() == bytes_max) {
        return fail(ErrorCode::invalid_argument,
                    fmt::format("line {} has more than {} bytes", lines_ + 1, bytes_max));
      }
      line += static_cast<char>(c);
    }
    cut_off_ = cut_off_ || !line.empty();
    return !line.empty();
  }

  std::ifstream file_;
  std::uint64_t lines_ = 0;
  bool cut_off_ = false;
};

Result<BundleReport> verify(LineReader& lines, BundleTrust trust, const World& world) {
  std::string line;
  TRY(lines.next(line, head_bytes_max));
  auto verifier = TRY(BundleVerifier::begin(line, std::move(trust)));
  Progress progress(world);
  std::vector<std::string> batch;
  std::uint64_t done = 0;
  for (bool more = true; more;) {
    batch.clear();
    while (batch.size() < lines_at_a_time && (more = TRY(lines.next(line, line_bytes_max)))) {
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
  LineReader lines(options.file);
  if (!lines.is_open()) {
    return complain(world, "cannot read " + options.file, ExitCode::usage);
  }
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
