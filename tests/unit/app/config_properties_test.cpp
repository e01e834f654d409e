#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>

#include "app/properties.h"
#include "base/encoding.h"

namespace betrace::kms {
namespace {

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs parse(std::string_view text) {
  const auto parsed = parse_properties(text);
  EXPECT_TRUE(parsed.has_value()) << parsed.error().message;
  Pairs pairs;
  if (parsed) {
    for (const auto& each : *parsed) pairs.emplace_back(each.key, each.value);
  }
  return pairs;
}

Property only(std::string_view text) {
  const auto parsed = parse_properties(text);
  EXPECT_TRUE(parsed.has_value() && parsed->size() == 1) << text;
  return parsed && parsed->size() == 1 ? parsed->front() : Property{};
}

TEST(Properties, ReadWhatJavaReads) {
  const std::filesystem::path folder = BETRACE_TEST_DATA "/properties";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".properties") continue;
    ++files;
    Pairs expected;
    std::istringstream lines(
        read(std::filesystem::path(entry.path()).replace_extension("expected")));
    for (std::string line; std::getline(lines, line);) {
      const auto tab = line.find('\t');
      const auto text = [](std::string_view hex) {
        const auto bytes = hex_decode(hex).value();
        return std::string(bytes.begin(), bytes.end());
      };
      expected.emplace_back(text(line.substr(0, tab)), text(line.substr(tab + 1)));
    }
    const auto parsed = parse(read(entry.path()));
    ASSERT_EQ(parsed.size(), expected.size()) << entry.path();
    for (std::size_t i = 0; i < parsed.size(); ++i)
      EXPECT_EQ(parsed[i], expected[i]) << entry.path();
  }
  EXPECT_EQ(files, 7);
}

TEST(Properties, ReadTheExamplesOfJavasDocumentation) {
  const Pairs truth = {{"Truth", "Beauty"}};
  EXPECT_EQ(parse("Truth = Beauty"), truth);
  EXPECT_EQ(parse(" Truth:Beauty"), truth);
  EXPECT_EQ(parse("Truth                    :Beauty"), truth);
  EXPECT_EQ(
      parse("fruits   apple, banana, pear, \\\n    cantaloupe, watermelon, \\\n    kiwi, mango"),
      (Pairs{{"fruits", "apple, banana, pear, cantaloupe, watermelon, kiwi, mango"}}));
  EXPECT_EQ(parse("cheeses\n"), (Pairs{{"cheeses", ""}}));
  EXPECT_EQ(parse("\\:\\=x=1"), (Pairs{{":=x", "1"}}));
}

TEST(Properties, KeepTheLineOfTheKey) {
  const auto parsed =
      parse_properties("# c\n\na=1\nb=2\\\n  3\\\n  4\nc=5\r\n\r\nd=6\re=7").value();
  ASSERT_EQ(parsed.size(), 5u);
  const int lines[] = {3, 4, 7, 9, 10};
  for (std::size_t i = 0; i < parsed.size(); ++i) EXPECT_EQ(parsed[i].line, lines[i]) << i;
}

TEST(Properties, ATrailingCommentIsCutOffAndSaid) {
  const auto cut = only("kms.cache.max-size=2000  # Default: 1000\n");
  EXPECT_EQ(cut.value, "2000");
  EXPECT_TRUE(cut.comment_cut);
  EXPECT_EQ(only("kms.rotation.check-cron=0 0 2 * * ?  # Daily at 2 AM").value, "0 0 2 * * ?");
  EXPECT_EQ(only("kms.cache.public-key-ttl-hours=48      # 48 hours").value, "48");
  EXPECT_EQ(only("a=\t1\t#2").value, "1");
  EXPECT_EQ(only("a = # nothing").value, "");
}

TEST(Properties, AHashThatIsNoCommentStays) {
  for (const auto& [text, value] :
       Pairs{{"a=b#c", "b#c"}, {"a=#c", "#c"}, {"a=b \\#c", "b #c"}, {"a=6#3", "6#3"}}) {
    const auto property = only(text);
    EXPECT_EQ(property.value, value) << text;
    EXPECT_FALSE(property.comment_cut) << text;
  }
}

TEST(Properties, AnEscapedBlankBeforeACommentStays) { EXPECT_EQ(only("a=b\\   # c").value, "b "); }

TEST(Properties, AnEscapedExpressionKeepsItsBackslash) {
  EXPECT_EQ(only("a=\\${b}").value, "\\${b}");
  EXPECT_EQ(only("a=\\\\${b}").value, "\\${b}");
  EXPECT_EQ(only("a=\\$b").value, "$b");
}

TEST(Properties, SurrogatePairsAreOneCharacter) {
  EXPECT_EQ(only("a=\\uD83D\\uDE00").value, "😀");
  EXPECT_EQ(only("a=\\u20AC").value, "€");
}

TEST(Properties, AMalformedEscapeNamesItsLine) {
  for (const char* text : {"a=1\nb=\\u12", "a=1\nb=\\u12G4", "a=1\nb=\\uD83D", "a=1\nb=\\uDE00",
                           "a=1\nb=\\uD83D\\u0041", "a=1\n\\u=b"}) {
    const auto parsed = parse_properties(text);
    ASSERT_FALSE(parsed.has_value()) << text;
    EXPECT_TRUE(parsed.error().message.starts_with("line 2: ")) << parsed.error().message;
  }
}

TEST(Properties, AByteOrderMarkIsSkipped) {
  EXPECT_EQ(only("\xEF\xBB\xBF"
                 "a=1")
                .key,
            "a");
}

TEST(Properties, AnyBytesAreRead) {
  std::uint32_t state = 1;
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 64; ++i) {
      state = state * 1664525 + 1013904223;
      constexpr std::string_view often = "\\\\\n\r\t =:#!u0aD${} ";
      const auto byte = state >> 16;
      text += byte % 3 == 0 ? static_cast<char>(byte >> 4) : often[byte % often.size()];
    }
    const auto parsed = parse_properties(text);
    if (parsed) {
      EXPECT_LE(parsed->size(), text.size());
    }
  }
}

}  // namespace
}  // namespace betrace::kms
