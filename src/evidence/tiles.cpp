#include "evidence/tiles.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/durable_file.h"
#include "base/encoding.h"
#include "base/try.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

constexpr unsigned tile_levels = 8;  // 2^8 = tile_width

std::string number_path(std::uint64_t index) {
  auto path = fmt::format("{:03}", index % 1000);
  while (index >= 1000) {
    index /= 1000;
    path = fmt::format("x{:03}/{}", index % 1000, path);
  }
  return path;
}

std::string with_width(std::string path, std::uint64_t width) {
  return width == tile_width ? path : fmt::format("{}.p/{}", path, width);
}

std::unexpected<Error> corrupt(std::string_view path, std::string_view why) {
  return fail(ErrorCode::corrupt, fmt::format("the evidence log is damaged: {} {}", path, why));
}

// How many of a tile's 256 a log has that has `count` at its level.
std::uint64_t width_of(std::uint64_t index, std::uint64_t count) {
  const auto before = index * tile_width;
  return count <= before ? 0 : std::min(tile_width, count - before);
}

// Cuts a bundle of entries apart. Nothing when it is not `count` leaves.
std::optional<std::vector<std::string>> entries_of(std::string_view content, std::uint64_t count) {
  std::vector<std::string> entries;
  while (entries.size() < count) {
    if (content.size() < 2) return std::nullopt;
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(content[0]) << 8 |
                                               static_cast<unsigned char>(content[1]));
    if (content.size() < 2 + size) return std::nullopt;
    entries.emplace_back(content.substr(2, size));
    content.remove_prefix(2 + size);
  }
  if (!content.empty()) return std::nullopt;
  return entries;
}

std::optional<std::vector<Digest>> digests_of(std::string_view content, std::uint64_t count) {
  if (content.size() != count * sizeof(Digest)) return std::nullopt;
  std::vector<Digest> digests(count);
  for (std::size_t i = 0; i < digests.size(); ++i) {
    std::ranges::copy(as_bytes(content.substr(i * sizeof(Digest), sizeof(Digest))),
                      digests[i].begin());
  }
  return digests;
}

// The root of 2^n hashes.
Digest fold(std::vector<Digest> hashes) {
  for (; hashes.size() > 1; hashes.resize(hashes.size() / 2)) {
    for (std::size_t i = 0; i < hashes.size() / 2; ++i) {
      hashes[i] = node_hash(hashes[2 * i], hashes[2 * i + 1]);
    }
  }
  return hashes.front();
}

std::unexpected<Error> cannot_write(const std::string& path, const std::error_code& why) {
  return fail(ErrorCode::store_unavailable,
              fmt::format("cannot write {}: {}", path, why.message()));
}

}  // namespace

std::string hash_tile_path(unsigned level, std::uint64_t index, std::uint64_t width) {
  return with_width(fmt::format("tile/{}/{}", level, number_path(index)), width);
}

std::string entries_tile_path(std::uint64_t index, std::uint64_t width) {
  return with_width("tile/entries/" + number_path(index), width);
}

// --- writing ------------------------------------------------------------------------------------

Result<TileWriter> TileWriter::resume(const std::string& folder, std::uint64_t size) {
  TileWriter writer;
  const TileReader reader(folder, size);
  if (size == 0) return writer;
  for (unsigned level = 0; size >> (level * tile_levels) > 0; ++level) {
    const auto count = size >> (level * tile_levels);
    auto& row = writer.rows_.emplace_back();
    row.first = count - count % tile_width;
    for (auto i = row.first; i < count; ++i) {
      row.hashes.push_back(TRY(reader.node({.level = level * tile_levels, .index = i})));
    }
    row.written = row.hashes.size();
  }
  const auto begin = size - size % tile_width;
  writer.bundles_.push_back({.index = begin / tile_width, .content = {}, .written = true});
  if (begin == size) return writer;
  for (const auto& leaf : TRY(reader.entries(begin, size))) writer.add_entry(as_bytes(leaf));
  writer.bundles_.back().written = true;
  return writer;
}

void TileWriter::add_entry(ByteView leaf) {
  if (bundles_.empty()) bundles_.emplace_back();
  if (bundles_.back().count == tile_width) {
    const auto likely = bundles_.back().content.size();  // as large as the one before
    bundles_.push_back({.index = bundles_.back().index + 1, .content = {}});
    bundles_.back().content.reserve(likely);
  }
  auto& bundle = bundles_.back();
  bundle.content += static_cast<char>(leaf.size() >> 8);
  bundle.content += static_cast<char>(leaf.size() & 0xff);
  bundle.content += as_text(leaf);
  bundle.written = false;
  ++bundle.count;
}

void TileWriter::add_node(const TreeNode& node, const Digest& hash) {
  if (node.level % tile_levels != 0) return;
  const auto level = node.level / tile_levels;
  if (rows_.size() <= level) rows_.resize(level + 1);
  rows_[level].hashes.push_back(hash);
}

std::vector<TileWriter::File> TileWriter::take() {
  std::vector<File> files;
  for (auto& bundle : bundles_) {
    if (bundle.written || bundle.count == 0) continue;
    const bool whole = bundle.count == tile_width;
    files.push_back({.path = entries_tile_path(bundle.index, bundle.count),
                     .content = whole ? std::move(bundle.content) : bundle.content,
                     .whole = whole});
    bundle.written = true;
  }
  if (!bundles_.empty()) bundles_.erase(bundles_.begin(), bundles_.end() - 1);
  for (unsigned level = 0; level < rows_.size(); ++level) {
    auto& row = rows_[level];
    const auto count = row.hashes.size();
    for (std::size_t begin = 0; begin < count; begin += tile_width) {
      const auto end = std::min<std::size_t>(begin + tile_width, count);
      if (end <= row.written) continue;
      File file{.path = hash_tile_path(level, (row.first + begin) / tile_width, end - begin),
                .content = {},
                .whole = end - begin == tile_width};
      for (auto i = begin; i < end; ++i) file.content += as_text(row.hashes[i]);
      files.push_back(std::move(file));
    }
    const auto done = count - count % tile_width;
    row.hashes.erase(row.hashes.begin(), row.hashes.begin() + static_cast<std::ptrdiff_t>(done));
    if (row.hashes.capacity() > 4 * tile_width) row.hashes.shrink_to_fit();
    row.first += done;
    row.written = row.hashes.size();
  }
  return files;
}

std::uint64_t TileWriter::bytes() const {
  std::uint64_t bytes = sizeof *this;
  for (const auto& row : rows_) bytes += row.hashes.capacity() * sizeof(Digest);
  for (const auto& bundle : bundles_) bytes += bundle.content.capacity();
  return bytes;
}

Status write_tiles(const std::string& folder, const std::vector<TileWriter::File>& files) {
  for (const auto& file : files) {
    const auto path = folder + "/" + file.path;
    std::error_code error;
    fs::create_directories(fs::path(path).parent_path(), error);
    if (error) return cannot_write(path, error);
    TRY(write_file(path, file.content));
    if (file.whole) fs::remove_all(path + ".p", error);
  }
  return {};
}

// --- reading ------------------------------------------------------------------------------------

Result<std::string> TileReader::tile(const std::string& whole, const std::string& partial) const {
  for (const auto* path : {&whole, &partial, &whole}) {  // a whole one may replace it meanwhile
    if (auto content = TRY(read_whole_file(folder_ + "/" + *path))) return *std::move(content);
  }
  return corrupt(folder_ + "/" + partial, "is not there");
}

Result<std::vector<Digest>> TileReader::hash_tile(unsigned level, std::uint64_t index) const {
  const auto width = width_of(index, size_ >> (level * tile_levels));
  const auto path = hash_tile_path(level, index, width);
  auto content = TRY(tile(hash_tile_path(level, index, tile_width), path));
  if (content.size() > width * sizeof(Digest)) content.resize(width * sizeof(Digest));
  auto digests = digests_of(content, width);
  if (!digests) return corrupt(folder_ + "/" + path, "has not the length of its hashes");
  return *std::move(digests);
}

Result<Digest> TileReader::node(const TreeNode& node) const {
  if (node.first_leaf() + node.leaves() > size_) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the log has {} leaves, and no whole subtree {} at level {}", size_,
                            node.index, node.level));
  }
  const auto tile_level = node.level / tile_levels;
  const auto above = node.level % tile_levels;
  const auto first = node.index << above;
  const auto hashes = TRY(hash_tile(tile_level, first / tile_width));
  const auto begin = hashes.begin() + static_cast<std::ptrdiff_t>(first % tile_width);
  return fold({begin, begin + (std::ptrdiff_t{1} << above)});
}

NodeReader TileReader::reader() const {
  return [this](const TreeNode& node) { return this->node(node); };
}

Result<std::vector<std::string>> TileReader::entries(std::uint64_t begin, std::uint64_t end) const {
  const auto index = begin / tile_width;
  const auto width = width_of(index, size_);
  const auto path = entries_tile_path(index, width);
  const auto content = TRY(tile(entries_tile_path(index, tile_width), path));
  auto all = entries_of(content, width);
  if (!all) all = entries_of(content, tile_width);  // it was completed meanwhile
  if (!all) return corrupt(folder_ + "/" + path, "is not a bundle of its leaves");
  const auto hashes = TRY(hash_tile(0, index));
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (leaf_hash(as_bytes((*all)[i])) == hashes[i]) continue;
    return corrupt(folder_ + "/" + path,
                   fmt::format("does not have the leaf {} that {} has the hash of",
                               index * tile_width + i, hash_tile_path(0, index, width)));
  }
  const auto from = begin - index * tile_width;
  const auto until = std::min(end - index * tile_width, width);
  all->resize(until);
  all->erase(all->begin(), all->begin() + static_cast<std::ptrdiff_t>(from));
  return *std::move(all);
}

Result<std::vector<Digest>> TileReader::leaf_hashes(std::uint64_t begin, std::uint64_t end) const {
  auto hashes = TRY(hash_tile(0, begin / tile_width));
  const auto first = begin / tile_width * tile_width;
  hashes.resize(std::min<std::uint64_t>(end - first, hashes.size()));
  hashes.erase(hashes.begin(), hashes.begin() + static_cast<std::ptrdiff_t>(begin - first));
  return hashes;
}

}  // namespace betrace::kms
