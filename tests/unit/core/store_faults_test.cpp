// A disk that fails at any write of the store: an error, never a wrong key. The whole life of some
// tenants is lived once for every call that a fault can strike, and afterwards again from each of
// the files that a crash would leave.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>

#include "support/fault_vfs.h"
#include "support/store_records.h"
#include "telemetry/log.h"
#include "unit/core/durable_check.h"

namespace betrace::kms::testing {
namespace {

namespace fs = std::filesystem;
using Kind = DiskFault::Kind;
using Crash = FaultVfs::Crash;

constexpr Crash crashes[] = {Crash::killed, Crash::power_lost, Crash::power_flicker};

std::string_view to_string(Crash crash) {
  switch (crash) {
    case Crash::killed:
      return "killed";
    case Crash::power_lost:
      return "power lost";
    case Crash::power_flicker:
      return "power flickered";
  }
  return "";
}

// Thousands of lives say nothing new.
class Quiet {
 public:
  Quiet() { set(spdlog::level::off); }
  Quiet(const Quiet&) = delete;
  ~Quiet() { set(before_); }

 private:
  static void set(spdlog::level::level_enum level) {
    for (const auto name : {log_category::kms, log_category::rotation}) {
      logger(name).set_level(level);
    }
  }
  const spdlog::level::level_enum before_ = logger(log_category::kms).level();
};

// One life, with one fault, and all that may come after it.
class Life {
 public:
  explicit Life(const DiskFault& fault)
      : disk_(folder_.path()), script_(world_, folder_.file(), !fault.persistent) {
    disk_.arm(fault, [this] { take_images("at the fault"); });
    script_.run();
    disk_.disarm();
    take_images("after the fault");
    if (auto* daemon = script_.daemon()) {
      SCOPED_TRACE("in the daemon that saw the fault");
      EXPECT_TRUE(daemon->membership.beat());
      DurableCheck(*daemon, script_.ledger()).everything();
    }
    script_.stop();
    FaultVfs::Image stopped;
    for (const auto& entry : fs::directory_iterator(folder_.path())) {
      std::ifstream stream(entry.path(), std::ios::binary);
      stopped[entry.path().filename()].assign(std::istreambuf_iterator<char>(stream), {});
    }
    moments_.push_back({"stopped", std::move(stopped), script_.ledger()});
  }

  void check_what_is_left() {
    for (const auto& moment : moments_) {
      SCOPED_TRACE(moment.name);
      check(moment);
      if (::testing::Test::HasFailure()) return;
    }
  }
  bool struck() const { return disk_.fired(); }
  std::uint64_t calls() const { return disk_.calls(); }
  const Ledger& ledger() const { return script_.ledger(); }

 private:
  struct Moment {
    std::string name;
    FaultVfs::Image image;
    Ledger ledger;
  };

  // Often nothing waits for a sync, and the crashes leave the same.
  void take_images(std::string_view when) {
    const auto first = moments_.size();
    for (const auto crash : crashes) {
      auto image = disk_.image(crash);
      const auto taken = std::span(moments_).subspan(first);
      if (std::ranges::find(taken, image, &Moment::image) != taken.end()) continue;
      moments_.push_back(
          {fmt::format("{} {}", to_string(crash), when), std::move(image), script_.ledger()});
    }
  }

  void check(const Moment& moment) {
    const TemporaryFolder folder;
    for (const auto& [name, content] : moment.image) {
      for (const auto& form : moment.ledger.shredded) {
        EXPECT_FALSE(content.contains(as_text(form)))
            << name << " holds a key of a shredded tenant";
      }
      std::ofstream(folder.file(name), std::ios::binary) << content;
    }
    {
      auto opened = DurableDaemon::open(
          world_, folder.file(),
          moment.ledger.moved ? world_.after_the_move() : world_.during_the_move());
      ASSERT_TRUE(opened) << opened.error().message;
      auto& daemon = **opened;
      ASSERT_TRUE(daemon.membership.beat());
      DurableCheck(daemon, moment.ledger).everything();
      // What was under way goes on.
      daemon.take_over();
      daemon.rotation.tick({});
      daemon.migrator.tick({});
      ASSERT_TRUE(daemon.membership.beat());
      auto later = moment.ledger;
      later.old_seeds_destroyed = std::max(later.old_seeds_destroyed, Told::asked);
      DurableCheck again(daemon, later);
      again.everything();
      again.no_destruction_is_left();
      daemon.keys.create(TenantId::parse("new").value());
    }
    expect_whole_file(folder.file());
  }

  const Quiet quiet_;
  DurableWorld world_;
  TemporaryFolder folder_;
  FaultVfs disk_;
  DurableScript script_;
  std::vector<Moment> moments_;
};

constexpr auto never = std::numeric_limits<std::uint64_t>::max();

TEST(StoreFaults, WithoutAFaultEverythingIsAcknowledged) {
  Life life({.kind = Kind::io_error, .at = never});
  life.check_what_is_left();
  EXPECT_GT(life.calls(), 300U);
  const auto& ledger = life.ledger();
  EXPECT_EQ(ledger.created.size(), 4U);
  EXPECT_EQ(ledger.signatures.size(), 11U);
  EXPECT_EQ(ledger.ciphertexts.size(), 11U);
  EXPECT_EQ(ledger.active.size(), 4U);
  EXPECT_EQ(ledger.counter, 20U);
  EXPECT_EQ(ledger.shredded.size(), 4U);
  EXPECT_EQ(ledger.old_seeds_destroyed, Told::done);
  EXPECT_TRUE(ledger.rotated_all && ledger.moved);
  for (const auto* told : {&ledger.revoked, &ledger.key_destroyed}) {
    EXPECT_FALSE(told->empty());
    for (const auto& [key, answer] : *told) EXPECT_EQ(answer, Told::done);
  }
}

struct Series {
  DiskFault::Kind kind;
  bool persistent = false;
  std::uint64_t first = 1, stride = 1;  // in `make test`
};

class StoreFaultSeries : public ::testing::TestWithParam<Series> {};

TEST_P(StoreFaultSeries, AFaultIsAnErrorAndNeverAWrongKey) {
  const auto& series = GetParam();
  const bool every = std::getenv("BETRACE_TORTURE") != nullptr;
  std::uint64_t struck = 0;
  for (std::uint64_t at = every ? 1 : series.first;; at += every ? 1 : series.stride) {
    SCOPED_TRACE(fmt::format("{} {} call {}", to_string(series.kind),
                             series.persistent ? "from" : "at", at));
    Life life({.kind = series.kind, .at = at, .persistent = series.persistent});
    life.check_what_is_left();
    if (HasFailure()) return;
    if (!life.struck()) break;
    ++struck;
  }
  RecordProperty("faults", std::to_string(struck));
  EXPECT_GE(struck, every ? 50U : 5U);
}

INSTANTIATE_TEST_SUITE_P(
    StoreFaults, StoreFaultSeries,
    ::testing::Values(Series{Kind::short_write, false, 3, 59},
                      Series{Kind::short_write, true, 7, 61}, Series{Kind::io_error, false, 11, 63},
                      Series{Kind::io_error, true, 13, 65}, Series{Kind::full, false, 17, 67},
                      Series{Kind::full, true, 19, 69}, Series{Kind::failed_sync, false, 1, 9},
                      Series{Kind::failed_sync, true, 2, 11}),
    [](const auto& series) {
      std::string name(to_string(series.param.kind));
      std::ranges::replace(name, ' ', '_');
      return name + (series.param.persistent ? "_for_good" : "_once");
    });

}  // namespace
}  // namespace betrace::kms::testing
