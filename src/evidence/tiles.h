// A log on disk in the layout of C2SP tlog-tiles, so that any web server can publish it and any
// client of such logs can read it: files of 256 hashes ("tile/0/x001/067"), of 256 leaves
// ("tile/entries/…"), and partial ones ("….p/17") that whole ones replace. Files that are written
// never change. Nothing here is synchronised, and nothing is forced to the disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "betrace/kms/result.h"

#include "evidence/merkle.h"

namespace betrace::kms {

inline constexpr std::uint64_t tile_width = 256;
// A bundle of entries says a leaf's length in two bytes.
inline constexpr std::size_t leaf_bytes_max = 65535;

// "tile/0/x001/067", "tile/0/x001/067.p/17"; of entries "tile/entries/…". `width` 256 is whole.
std::string hash_tile_path(unsigned level, std::uint64_t index, std::uint64_t width);
std::string entries_tile_path(std::uint64_t index, std::uint64_t width);

// What a log has grown by, kept until it is written: whole tiles and the beginnings of others.
class TileWriter {
 public:
  // A log that ends at `size`, where the files of the partial tiles are in `folder`. Errors:
  // store_unavailable; corrupt when a file is not what `size` says.
  static Result<TileWriter> resume(const std::string& folder, std::uint64_t size);
  TileWriter() = default;

  void add_entry(ByteView leaf);
  // Of finished subtrees, those that tiles keep: every eighth level.
  void add_node(const TreeNode& node, const Digest& hash);

  struct File {
    std::string path;  // below the log's folder
    std::string content;
    bool whole = false;
  };
  // All that files do not have yet; what stays is the beginnings of tiles.
  std::vector<File> take();
  std::uint64_t bytes() const;  // in memory

 private:
  struct Row {  // of one level, from the beginning of a tile
    std::uint64_t first = 0;
    std::vector<Digest> hashes;
    std::uint64_t written = 0;  // of `hashes`, those that files have
  };
  struct Bundle {  // of leaves, from the beginning of a tile
    std::uint64_t index = 0;
    std::uint64_t count = 0;
    std::string content;
    bool written = false;
  };
  std::vector<Row> rows_;  // by the level of the tile
  std::vector<Bundle> bundles_;
};

// Writes files as take() gave them, each whole or not at all; partial ones that a whole one
// replaces go. Errors: store_unavailable.
Status write_tiles(const std::string& folder, const std::vector<TileWriter::File>& files);

// Reads a log of `size` leaves as files have it. Errors: store_unavailable; corrupt, naming the
// file.
class TileReader {
 public:
  TileReader(std::string folder, std::uint64_t size) : folder_(std::move(folder)), size_(size) {}
  std::uint64_t size() const { return size_; }
  Result<Digest> node(const TreeNode& node) const;
  NodeReader reader() const;
  // Leaves [begin, end) of one tile at least, perhaps fewer than asked for: those of begin's tile.
  Result<std::vector<std::string>> entries(std::uint64_t begin, std::uint64_t end) const;
  // Leaf hashes [begin, end), likewise.
  Result<std::vector<Digest>> leaf_hashes(std::uint64_t begin, std::uint64_t end) const;

 private:
  Result<std::vector<Digest>> hash_tile(unsigned level, std::uint64_t index) const;
  Result<std::string> tile(const std::string& whole, const std::string& partial) const;

  std::string folder_;
  std::uint64_t size_;
};

}  // namespace betrace::kms
