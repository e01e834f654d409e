#include "base/compression.h"

#include <algorithm>
#include <memory>
#include <new>

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

namespace betrace::kms {
namespace {

// A buffer of its own: a body of a million empty members would otherwise clear a new piece for
// each.
constexpr std::size_t piece_bytes = 64U << 10;
constexpr int gzip_window = 15 + 16;  // zlib.h: 16 more is the gzip format

std::unexpected<Error> damaged(std::string_view encoding) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("Content-Encoding: the body is not whole and sound {}", encoding));
}

std::unexpected<Error> too_large(std::size_t bytes_max) {
  return fail(ErrorCode::payload_too_large,
              fmt::format("the body has more than {} bytes when it is decompressed", bytes_max));
}

Bytef* bytes_of(std::string_view text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // zlib does not write there
}

Result<std::string> gunzip(std::string_view body, std::size_t bytes_max) {
  z_stream stream{};
  if (inflateInit2(&stream, gzip_window) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = bytes_of(body);
  stream.avail_in = static_cast<uInt>(body.size());
  std::string piece(piece_bytes, '\0'), out;
  for (int status = Z_OK; status != Z_STREAM_END || stream.avail_in > 0;) {
    if (status == Z_STREAM_END && inflateReset(&stream) != Z_OK) return damaged("gzip");
    stream.next_out = bytes_of(piece);
    stream.avail_out = static_cast<uInt>(piece_bytes);
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(piece, 0, piece_bytes - stream.avail_out);
    if (status != Z_OK && status != Z_STREAM_END) return damaged("gzip");
    if (out.size() > bytes_max) return too_large(bytes_max);
  }
  return out;
}

Result<std::string> unzstd(std::string_view body, std::size_t bytes_max) {
  const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                        ZSTD_freeDCtx);
  if (!context) throw std::bad_alloc();
  ZSTD_inBuffer in{.src = body.data(), .size = body.size(), .pos = 0};
  std::string piece(piece_bytes, '\0'), out;
  for (std::size_t left = 1; left != 0 || in.pos < in.size;) {
    ZSTD_outBuffer to{.dst = piece.data(), .size = piece_bytes, .pos = 0};
    const auto begun = in.pos;
    left = ZSTD_decompressStream(context.get(), &to, &in);
    out.append(piece, 0, to.pos);
    if (ZSTD_isError(left) != 0U) return damaged("zstd");
    if (out.size() > bytes_max) return too_large(bytes_max);
    if (left != 0 && in.pos == begun && to.pos == 0) return damaged("zstd");
  }
  return out;
}

}  // namespace

Result<std::string> decompress(std::string_view encoding, std::string_view body,
                               std::size_t bytes_max) {
  std::string name(encoding);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  if (name == "gzip" || name == "x-gzip") return gunzip(body, bytes_max);
  if (name == "zstd") return unzstd(body, bytes_max);
  if (!name.empty() && name != "identity") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("Content-Encoding: '{}' is not accepted; gzip, zstd and identity are",
                            name.substr(0, 32)));
  }
  if (body.size() > bytes_max) return too_large(bytes_max);
  return std::string(body);
}

std::string gzip(std::string_view body) {
  z_stream stream{};
  constexpr int memory = 8;
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, gzip_window, memory, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    throw std::bad_alloc();
  }
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, deflateEnd);
  std::string out(deflateBound(&stream, body.size()), '\0');
  stream.next_in = bytes_of(body);
  stream.avail_in = static_cast<uInt>(body.size());
  stream.next_out = bytes_of(out);
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  return out;
}

}  // namespace betrace::kms
