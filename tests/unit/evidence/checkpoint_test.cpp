// Notes of the Go checksum database's documentation, and checkpoints of our own.
#include "evidence/checkpoint.h"

#include <gtest/gtest.h>

#include "base/crypto.h"
#include "base/encoding.h"
#include "support/signed_note.h"

namespace betrace::kms {
namespace {

using namespace std::chrono_literals;

struct LogKey {
  SecretBytes secret = ed25519_key_from_seed(SecretBytes::copy_of(Bytes(32, 7)));
  NoteKey key{
      .name = "log.example/acme",
      .public_key = {ed25519_public_half(secret).begin(), ed25519_public_half(secret).end()}};
  std::string note(std::string_view text) const {
    return signed_note(text, key, [&](ByteView bytes) {
      SignJob job{.key = &secret, .payload = bytes};
      sodium_signer().sign({&job, 1});
      return job.signature;
    });
  }
};

Checkpoint some_checkpoint() {
  return {.origin = "log.example/acme",
          .size = 20852163,
          .root = empty_root(),
          .time = SystemTime(1764200000s)};
}

TEST(Note, IsReadAsTheGoChecksumDatabaseWritesIt) {
  const auto key = NoteKey::parse(their_key);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->name, "PeterNeumann");
  EXPECT_EQ(key->text(), their_key);
  const auto text = open_note(their_note, *key);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, their_note.substr(0, their_note.find("\n\n") + 1));
}

TEST(Note, EveryChangedByteIsNoticed) {
  const auto key = NoteKey::parse(their_key).value();
  for (std::size_t i = 0; i < their_note.size(); ++i) {
    for (const int bit : {0, 3, 6}) {
      std::string changed(their_note);
      changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
      EXPECT_FALSE(open_note(changed, key)) << i;
    }
    EXPECT_FALSE(open_note(their_note.substr(0, i), key)) << i;
  }
}

TEST(Note, AKeyWithAnotherHashOrNameIsRefused) {
  for (std::size_t i = 0; i < their_key.size(); ++i) {
    std::string changed(their_key);
    changed[i] = changed[i] == 'a' ? 'b' : 'a';
    EXPECT_FALSE(NoteKey::parse(changed)) << changed;
  }
  EXPECT_FALSE(NoteKey::parse(""));
  EXPECT_FALSE(NoteKey::parse("a+b"));
}

TEST(Note, SignaturesOfOthersArePassedOver) {
  const LogKey log;
  auto note = log.note("hello\n");
  const auto ours = note.substr(note.find("\n\n") + 2);
  note.insert(note.find("\n\n") + 2, "\u2014 witness.example AAAAAGFiY2Q=\n");
  EXPECT_EQ(open_note(note, log.key).value_or(""), "hello\n");
  EXPECT_FALSE(open_note(note.substr(0, note.size() - ours.size()), log.key));
}

TEST(Note, EverySignatureIsOneAndThoseOfTheKeyAreGood) {
  const LogKey log;
  const auto note = log.note("hello\n"), other = log.note("others\n");
  const auto wrong = other.substr(other.find("\n\n") + 2);
  for (const auto& line : {wrong, std::string("\u2014 witness.example !\n"), std::string("x\n"),
                           std::string("\u2014 witness.example AAAAAA==\n")}) {
    EXPECT_FALSE(open_note(note + line, log.key)) << line;
    auto before = note;
    EXPECT_FALSE(open_note(before.insert(note.find("\n\n") + 2, line), log.key)) << line;
  }
  EXPECT_FALSE(open_note(note + "\u2014 cut", log.key));
}

TEST(Checkpoint, IsTheSameAfterItWasWrittenSignedAndRead) {
  const LogKey log;
  const auto checkpoint = some_checkpoint();
  const auto text = open_note(log.note(checkpoint.text()), log.key);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text,
            "log.example/acme\n20852163\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
            "time 2025-11-26T23:33:20.000Z\n");
  EXPECT_EQ(Checkpoint::parse(*text).value(), checkpoint);
}

TEST(Checkpoint, WhatIsNoneIsRefusedWithItsLine) {
  const std::string root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
  const std::string time = "time 2025-11-26T23:33:20.000Z\n";
  for (const auto& [text, wanted] : std::vector<std::pair<std::string, std::string>>{
           {"", "line 1"},
           {"\n1\n" + root + "\n" + time, "line 1"},
           {"log\n", "line 2"},
           {"log\n01\n" + root + "\n" + time, "line 2"},
           {"log\n-1\n" + root + "\n" + time, "line 2"},
           {"log\n18446744073709551616\n" + root + "\n" + time, "line 2"},
           {"log\n1\nAAAA\n" + time, "line 3"},
           {"log\n1\n" + root + "\n", "no line 'time'"},
           {"log\n1\n" + root + "\ntime yesterday\n", "'time' is not"},
           {"log\n1\n" + root + "\n\n" + time, "a line is empty"},
           {"log\n1\n" + root + "\n" + time + "cut", "cut off"}}) {
    const auto parsed = Checkpoint::parse(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message.find(wanted), std::string::npos) << parsed.error().message;
  }
}

}  // namespace
}  // namespace betrace::kms
