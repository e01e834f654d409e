#include "providers/aws_profile.h"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::size_t file_bytes_max = 1 << 20;
constexpr std::string_view blanks = " \t\r\f\v";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

// A comment inside a line begins after white space; "a#b" is a value.
std::string_view without_comment(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    if ((text[i] == '#' || text[i] == ';') && (text[i - 1] == ' ' || text[i - 1] == '\t')) {
      return trimmed(text.substr(0, i));
    }
  }
  return trimmed(text);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return out;
}

std::string_view unquoted(std::string_view text) {
  const bool quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
                      text.front() == text.back();
  return quoted ? text.substr(1, text.size() - 2) : text;
}

// The profile that a section header opens, or "sso-session NAME"; nothing for other sections.
std::optional<std::string_view> profile_of(std::string_view header, AwsFileKind kind) {
  header = trimmed(header);
  if (kind == AwsFileKind::credentials) return unquoted(header);
  if (header == "default" || header.starts_with("sso-session ")) return header;
  constexpr std::string_view word = "profile";
  if (!header.starts_with(word) || header.size() == word.size() ||
      blanks.find(header[word.size()]) == blanks.npos) {
    return std::nullopt;
  }
  return unquoted(trimmed(header.substr(word.size())));
}

class FileParser {
 public:
  FileParser(AwsFileKind kind, std::string_view file, AwsProfiles& into)
      : kind_(kind), file_(file), into_(into) {}

  Status parse(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      ++number_;
      TRY(line(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return {};
  }

 private:
  Status line(std::string_view text) {
    const bool indented = !text.empty() && blanks.find(text.front()) != blanks.npos;
    text = trimmed(text);
    if (text.empty() || text.front() == '#' || text.front() == ';') return {};
    if (text.front() == '[' && !indented) return header(text);
    if (!in_section_) return refuse("comes before the first [section]");
    if (indented && !parent_.empty()) return nested(text);
    const auto separator = text.find_first_of("=:");
    if (separator == text.npos || separator == 0) return refuse("is not of the form name = value");
    parent_ = lower(trimmed(text.substr(0, separator)));
    set(parent_, without_comment(text.substr(separator)));
    return {};
  }

  Status header(std::string_view text) {
    const auto end = text.find(']');
    if (end == text.npos) return refuse("opens a [section] without ']'");
    const auto profile = profile_of(text.substr(1, end - 1), kind_);
    in_section_ = true;
    parent_.clear();
    current_ = profile ? &into_[std::string(*profile)] : nullptr;
    return {};
  }

  Status nested(std::string_view text) {
    const auto separator = text.find('=');
    // A longer value, continued: nothing that we read has one.
    if (separator == text.npos || separator == 0) return {};
    set(parent_ + "." + lower(trimmed(text.substr(0, separator))),
        without_comment(text.substr(separator)));
    return {};
  }

  // `value` still has its separator, so that a comment right after it is seen as one.
  void set(const std::string& key, std::string_view value) {
    value = trimmed(value.substr(1));
    if (current_) (*current_)[key] = WipedString(value);
  }

  std::unexpected<Error> refuse(std::string_view what) const {
    return fail(ErrorCode::kms_access_denied,
                fmt::format("AWS file {}, line {}: it {}", file_, number_, what));
  }

  const AwsFileKind kind_;
  const std::string_view file_;
  AwsProfiles& into_;
  AwsProfile* current_ = nullptr;
  bool in_section_ = false;
  std::string parent_;
  std::size_t number_ = 0;
};

Result<WipedString> read_file(const std::string& path) {
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::kms_access_denied, fmt::format("AWS file {}: {}", path, what));
  };
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) return WipedString();
    return refuse(std::generic_category().message(error));
  }
  WipedString text(file_bytes_max + 1, '\0');
  std::size_t size = 0;
  ssize_t got = 0;
  while (size < text.size()) {
    got = ::read(descriptor, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  const int error = got < 0 ? errno : 0;
  ::close(descriptor);
  if (error != 0) return refuse(std::generic_category().message(error));
  if (size > file_bytes_max) return refuse("is larger than 1 MiB");
  text.resize(size);
  return text;
}

}  // namespace

Status parse_aws_file(std::string_view text, AwsFileKind kind, std::string_view file,
                      AwsProfiles& into) {
  return FileParser(kind, file, into).parse(text);
}

AwsFileNames find_aws_files(const ProviderEnvironment& environment) {
  const auto variable = [&](const char* name) {
    return environment.environment ? environment.environment(name).value_or("") : std::string();
  };
  const std::string home = variable("HOME");
  const auto file = [&](const char* name, const char* usual) {
    const std::string named = variable(name);
    if (named.starts_with("~/") && !home.empty()) return home + named.substr(1);
    if (!named.empty()) return named;
    return home.empty() ? std::string() : home + usual;
  };
  AwsFileNames names;
  names.credentials = file("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials");
  names.config = file("AWS_CONFIG_FILE", "/.aws/config");
  if (!home.empty()) names.sso_cache = home + "/.aws/sso/cache";
  names.named_by = aws_profile_setting;
  names.profile = environment.settings(aws_profile_setting).value_or("");
  for (const char* name : {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"}) {
    if (!names.profile.empty()) return names;
    names.named_by = name;
    names.profile = variable(name);
  }
  if (names.profile.empty()) {
    names.named_by.clear();
    names.profile = "default";
  }
  return names;
}

AwsFileStamp stamp_of(const AwsFileNames& names) {
  AwsFileStamp stamp;
  for (const std::string* path : {&names.credentials, &names.config}) {
    struct stat about{};
    if (path->empty() || ::stat(path->c_str(), &about) != 0) about = {};
    for (const std::int64_t field :
         {static_cast<std::int64_t>(about.st_mtim.tv_sec),
          static_cast<std::int64_t>(about.st_mtim.tv_nsec),
          static_cast<std::int64_t>(about.st_size), static_cast<std::int64_t>(about.st_ino)}) {
      stamp.fields.push_back(field);
    }
  }
  return stamp;
}

Result<AwsProfiles> read_aws_profiles(const AwsFileNames& names) {
  AwsProfiles profiles;
  if (!names.config.empty()) {
    const WipedString text = TRY(read_file(names.config));
    TRY(parse_aws_file(text, AwsFileKind::config, names.config, profiles));
  }
  if (!names.credentials.empty()) {
    const WipedString text = TRY(read_file(names.credentials));
    TRY(parse_aws_file(text, AwsFileKind::credentials, names.credentials, profiles));
  }
  return profiles;
}

std::string_view profile_value(const AwsProfile& profile, std::string_view key) {
  const auto found = profile.find(key);
  return found == profile.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace betrace::kms
