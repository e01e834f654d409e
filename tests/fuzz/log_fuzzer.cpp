// The folder of an evidence log whose files were damaged: nothing crashes; where one file was, what
// is published afterwards has every leaf that was published before, those of the journal as far as
// they are there, and the new one, or the damage is said; where several were, what is published is
// signed, and the tree of its tiles.
#include <filesystem>
#include <future>

#include "base/durable_file.h"
#include "base/encoding.h"
#include "evidence/evidence_log.h"
#include "fuzz.h"
#include "support/fake_clock.h"
#include "support/temporary_directory.h"
#include "telemetry/log.h"

using namespace betrace::kms;

namespace {

namespace fs = std::filesystem;

constexpr int published = 5, acknowledged = 7;

struct File {
  std::string name, content;
};

struct World {
  TemporaryDirectory folder;
  FakeClock clock;
  Metrics metrics{"fake"};
  TenantId acme = TenantId::parse("acme").value();
  std::vector<File> files;
  NoteKey key;

  World() {
    must(configure_logging({.level = "OFF", .console = false}).has_value());
    auto log = open().value();
    must(append(*log, 0, published) && log->publish());
    key = log->public_key().value();
    for (int i = published; i < acknowledged; ++i) must(append(*log, i, i + 1));
    log.reset();
    for (const auto& entry : fs::recursive_directory_iterator(path())) {
      if (!entry.is_regular_file() || entry.path().filename() == ".lock") continue;
      files.push_back({.name = entry.path().lexically_relative(path()),
                       .content = read_whole_file(entry.path()).value().value()});
    }
    std::ranges::sort(files, {}, &File::name);
  }
  std::string path() const { return folder.path() + "/evidence"; }
  Result<std::unique_ptr<EvidenceLog>> open() {
    const LogKeySeal seal{.seal = [](const SecretBytes& secret) -> Result<Bytes> {
                            return Bytes(secret.expose().begin(), secret.expose().end());
                          },
                          .open = [](ByteView sealed) -> Result<SecretBytes> {
                            return SecretBytes::copy_of(sealed);
                          }};
    return EvidenceLog::open({.folder = path()},
                             {.seal = seal, .clock = clock, .metrics = metrics});
  }
  static std::string leaf(int number) { return fmt::format("leaf {}", number); }
  bool append(EvidenceLog& log, int begin, int end) {
    std::vector<EvidenceLog::Leaf> leaves;
    for (int i = begin; i < end; ++i) leaves.push_back({acme, leaf(i)});
    std::promise<bool> done;
    log.append(std::move(leaves), {}, [&](const auto& to) { done.set_value(to.has_value()); });
    return done.get_future().get();
  }
  // Of the first leaves and the one that is added to a damaged log.
  static Digest root_with_new_leaf(int leaves) {
    GrowingTree tree;
    for (int i = 0; i < leaves; ++i) tree.add_leaf(leaf_hash(as_bytes(leaf(i))));
    tree.add_leaf(leaf_hash(as_bytes(leaf(acknowledged))));
    return tree.root();
  }
  void lay_out(const std::vector<File>& all) const {
    fs::remove_all(path());
    for (const auto& file : all) {
      fs::create_directories(fs::path(path() + "/" + file.name).parent_path());
      std::ofstream(path() + "/" + file.name, std::ios::binary) << file.content;
    }
  }
};

World& world() {
  static World world;
  return world;
}

// False: the file is gone.
bool damage(File& file, Input& in) {
  auto& text = file.content;
  const auto op = in.byte();
  const std::size_t at = in.number<std::uint16_t>() % (text.size() + 1);
  const std::size_t count = std::min<std::size_t>(in.byte(), text.size() - at);
  const bool has_checksums = file.name.ends_with(".journal");  // which an input could learn
  switch (op % 8) {
    case 0:
      return op != 0;
    case 1:
      text.resize(at);
      break;
    case 2:
      std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(at), count, '\0');
      break;
    case 3:
      if (!has_checksums) text.replace(at, count, in.take(in.byte()));
      break;
    case 4:
      if (!has_checksums) text = in.take(text.size());
      break;
    default:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ 1 << op / 8 % 8);
  }
  return true;
}

void must_continue(EvidenceLog& log, bool one_damaged) {
  (void)log.all_published(world().acme);
  if (!world().append(log, acknowledged, acknowledged + 1) || !log.publish()) return;
  const auto newest = log.published(world().acme).value();
  const auto& made = newest.checkpoint;
  const auto key = log.public_key().value();
  must(Checkpoint::parse(open_note(newest.note, key).value()).value() == made);
  const auto tiles = log.tiles(world().acme, made.size);
  must(root_of(made.size, tiles.reader()).value() == made.root);
  must(tiles.entries(made.size - 1, made.size).value().back() == World::leaf(acknowledged));
  if (!one_damaged) return;
  must(key == world().key && made.size > published && made.size <= acknowledged + 1);
  must(made.root == World::root_with_new_leaf(static_cast<int>(made.size) - 1));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  std::vector<std::string> seeds;
  for (std::size_t i = 0; i < world().files.size(); ++i) {
    for (const auto* how : {"\5\x10\0\0", "\1\x20\0\0", "\0\0\0\0", "\2\x14\0\x8", "\xd\x28\0\0"}) {
      seeds.push_back(std::string{'\0', static_cast<char>(i)} + std::string(how, 4));
    }
    const auto& text = world().files[i].content;
    seeds.push_back(std::string{'\0', static_cast<char>(i), '\4', '\0', '\0', '\0'} + text);
  }
  plant(*argc, *argv, seeds);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  auto files = world().files;
  const bool one = in.byte() % 2 == 0;
  auto* damaged = &files[in.byte() % files.size()];
  while (!in.rest.empty() && !files.empty()) {
    if (!damage(*damaged, in)) {
      files.erase(files.begin() + (damaged - files.data()));
      if (one || files.empty()) break;
      damaged = files.data();
    }
    if (!one) damaged = &files[in.byte() % files.size()];
  }
  world().lay_out(files);
  if (auto log = world().open()) must_continue(**log, one);
  return 0;
}
