#include "app/tar_gz.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include "base/try.h"

namespace betrace::kms {
namespace {

constexpr std::size_t block = 512;
using Block = std::array<char, block>;

std::unexpected<Error> system_error(const std::string& file, int error) {
  return fail(error == EEXIST ? ErrorCode::already_exists : ErrorCode::invalid_argument,
              fmt::format("{}: {}", file, std::strerror(error)));
}

// Offsets and lengths as POSIX gives them for ustar; numbers are octal and end in NUL.
Block header(std::string_view name, std::size_t size, std::chrono::seconds modified) {
  Block out{};
  const auto put = [&out](std::size_t at, std::string_view text) {
    std::ranges::copy(text, out.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, name.substr(0, 100));
  put(100, "0000600");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", size));
  put(136, fmt::format("{:011o}", modified.count()));
  put(148, "        ");  // the checksum counts itself as blanks
  put(156, "0");         // a regular file
  put(257, std::string_view("ustar\00000", 8));
  const auto sum = std::accumulate(out.begin(), out.end(), 0U, [](unsigned total, char c) {
    return total + static_cast<unsigned char>(c);
  });
  put(148, fmt::format("{:06o}", sum));
  out[154] = '\0';
  return out;
}

}  // namespace

struct TarGz::Writer {
  explicit Writer(std::string name) : file(std::move(name)) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    if (stream != nullptr) ::gzclose(stream);
    if (!finished) ::unlink(file.c_str());
  }

  Status write(std::string_view bytes) {
    if (bytes.empty() || ::gzwrite(stream, bytes.data(), static_cast<unsigned>(bytes.size())) > 0) {
      return {};
    }
    return system_error(file, errno);
  }

  const std::string file;
  gzFile stream = nullptr;
  int descriptor = -1;  // the stream's
  bool finished = false;
};

Result<TarGz> TarGz::create(const std::string& file) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return system_error(file, errno);
  auto writer = std::make_shared<Writer>(file);
  writer->descriptor = descriptor;
  writer->stream = ::gzdopen(descriptor, "wb");
  if (writer->stream == nullptr) {
    ::close(descriptor);
    return system_error(file, ENOMEM);
  }
  return TarGz(std::move(writer));
}

Status TarGz::add(std::string_view name, std::string_view text, std::chrono::seconds modified) {
  const auto head = header(name, text.size(), modified);
  TRY(writer_->write({head.data(), head.size()}));
  TRY(writer_->write(text));
  const Block padding{};
  return writer_->write({padding.data(), (block - text.size() % block) % block});
}

Status TarGz::finish() {
  const std::string end(2 * block, '\0');
  TRY(writer_->write(end));
  if (::gzflush(writer_->stream, Z_FINISH) != Z_OK || ::fsync(writer_->descriptor) != 0) {
    return system_error(writer_->file, errno);
  }
  if (::gzclose(std::exchange(writer_->stream, nullptr)) != Z_OK) {
    return system_error(writer_->file, errno);
  }
  writer_->finished = true;
  return {};
}

}  // namespace betrace::kms
