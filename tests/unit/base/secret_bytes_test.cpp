#include "betrace/kms/secret_bytes.h"

#include <fstream>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes>);
static_assert(std::is_nothrow_move_constructible_v<SecretBytes>);

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
static_assert(!Printable<SecretBytes>);

TEST(SecretBytes, MovesAndLeavesNothingBehind) {
  auto a = SecretBytes::random(32);
  const auto* const data = a.expose().data();
  const SecretBytes b = std::move(a);
  EXPECT_EQ(b.expose().data(), data);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is the point
}

TEST(SecretBytes, ComparesByValue) {
  const std::uint8_t bytes[] = {1, 2, 3};
  EXPECT_TRUE(SecretBytes::copy_of(bytes) == SecretBytes::copy_of(bytes));
  EXPECT_FALSE(SecretBytes::copy_of(bytes) == SecretBytes(3));
  EXPECT_FALSE(SecretBytes::copy_of(bytes) == SecretBytes(4));
}

TEST(SecretBytes, ASlotIsWipedBeforeItIsUsedAgain) {
  const std::uint8_t* place = nullptr;
  {
    SecretBytes secret(64);
    std::ranges::fill(secret.expose_mutable(), 0xAA);
    place = secret.expose().data();
  }
  // The slot's first bytes now chain free slots; the rest must be zero.
  for (int i = 8; i < 64; ++i) EXPECT_EQ(place[i], 0);
}

TEST(SecretBytes, LivesInMemoryThatIsLeftOutOfDumps) {
  const auto secret = SecretBytes::random(32);
  const auto address = reinterpret_cast<std::uintptr_t>(secret.expose().data());
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  std::string flags;
  while (std::getline(maps, line)) {
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream head(line);
    if (head >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = begin <= address && address < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      flags = line;
    }
  }
  EXPECT_NE(flags.find(" dd"), std::string::npos) << flags;
  EXPECT_NE(flags.find(" wf"), std::string::npos) << flags;
#ifndef BETRACE_SANITIZED
  // The sanitizers make mlock(2) succeed and do nothing.
  if (secret_memory_state().locked) {
    EXPECT_NE(flags.find(" lo"), std::string::npos) << flags;
  }
#endif
}

TEST(SecretBytes, GivesBackWhatItTook) {
  const auto before = secret_memory_state().bytes_used;
  {
    std::vector<SecretBytes> many;
    for (int i = 0; i < 5000; ++i) many.push_back(SecretBytes::random(32 + i % 7000));
    EXPECT_GT(secret_memory_state().bytes_used, before);
  }
  EXPECT_EQ(secret_memory_state().bytes_used, before);
}

TEST(SecretBytes, ThreadsTakeAndReturnSlots) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 2000; ++i) {
        SecretBytes secret(64);
        std::ranges::fill(secret.expose_mutable(), static_cast<std::uint8_t>(t));
        for (const auto byte : secret.expose()) ASSERT_EQ(byte, t);
      }
    });
  }
}

TEST(WipedString, HoldsTextOfAnySize) {
  WipedString text;
  for (int i = 0; i < 10'000; ++i) text += static_cast<char>('a' + i % 26);
  EXPECT_EQ(text.size(), 10'000U);
}

}  // namespace
}  // namespace betrace::kms
