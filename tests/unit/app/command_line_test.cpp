#include "app/command_line.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

CommandLine parsed(std::vector<std::string> arguments) {
  auto result = parse_command_line(std::move(arguments));
  if (auto* finished = std::get_if<Finished>(&result)) {
    ADD_FAILURE() << finished->out << finished->err;
    return {};
  }
  return std::get<CommandLine>(std::move(result));
}

Finished finished(std::vector<std::string> arguments) {
  auto result = parse_command_line(std::move(arguments));
  if (auto* found = std::get_if<Finished>(&result)) return *found;
  ADD_FAILURE() << "the command line was accepted";
  return {};
}

TEST(CommandLine, DefinitionsStandAnywhereGluedOrApart) {
  const auto line = parsed({"-Da=1", "serve", "-Db.c=x=y", "-D", "d=", "-De=\"q r\""});
  EXPECT_EQ(line.command, "serve");
  EXPECT_EQ(line.definitions, (std::map<std::string, std::string>{
                                  {"a", "1"}, {"b.c", "x=y"}, {"d", ""}, {"e", "\"q r\""}}));
}

TEST(CommandLine, ADefinitionTakesOneWordOnly) {
  const auto line = parsed({"sign", "--tenant", "t", "-D", "a=1", "report.pdf"});
  EXPECT_EQ(line.file, "report.pdf");
  EXPECT_EQ(line.definitions.size(), 1U);
}

TEST(CommandLine, TheLastDefinitionOfANameCounts) {
  EXPECT_EQ(parsed({"config", "-Da=1", "-Da=2"}).definitions.at("a"), "2");
}

TEST(CommandLine, ADefinitionNeedsANameAndAnEqualsSign) {
  EXPECT_EQ(finished({"serve", "-Dabc"}).code, ExitCode::usage);
  EXPECT_EQ(finished({"serve", "-D=x"}).code, ExitCode::usage);
}

TEST(CommandLine, TheConfigurationFileStandsBeforeOrAfterTheCommand) {
  EXPECT_EQ(parsed({"--config", "f", "serve"}).config_file, "f");
  EXPECT_EQ(parsed({"serve", "--config=f"}).config_file, "f");
}

TEST(CommandLine, FilesDefaultToStandardInput) {
  EXPECT_EQ(parsed({"sign", "-t", "acme"}).file, "-");
  EXPECT_EQ(parsed({"sign", "-t", "acme", "-"}).file, "-");
}

TEST(CommandLine, ContextPairsRepeatAndDoNotEatTheFile) {
  const auto line = parsed({"encrypt", "-t", "acme", "-c", "a=1", "--context", "b=x=y", "file"});
  EXPECT_EQ(line.context, (EncryptionContext{{"a", "1"}, {"b", "x=y"}}));
  EXPECT_EQ(line.file, "file");
}

TEST(CommandLine, AContextNameGivenTwiceIsAMistake) {
  const auto end = finished({"encrypt", "-t", "acme", "-c", "a=1", "-c", "a=2"});
  EXPECT_EQ(end.code, ExitCode::usage);
  EXPECT_NE(end.err.find("'a' is given twice"), std::string::npos) << end.err;
}

TEST(CommandLine, SubcommandsOfTenantsAreNamedWithTheirParent) {
  EXPECT_EQ(parsed({"tenants", "list"}).command, "tenants list");
  const auto line = parsed({"tenants", "create", "acme"});
  EXPECT_EQ(line.command, "tenants create");
  EXPECT_EQ(line.tenant, "acme");
}

TEST(CommandLine, VerifyTakesAKeyIdOrAVersionButNotBoth) {
  EXPECT_EQ(parsed({"verify", "-t", "a", "-s", "c2ln", "--version", "3"}).version, 3U);
  EXPECT_EQ(finished({"verify", "-t", "a", "-s", "x", "--version", "3", "--key-id", "k"}).code,
            ExitCode::usage);
  EXPECT_EQ(finished({"verify", "-t", "a", "-s", "x", "--version", "-1"}).code, ExitCode::usage);
}

TEST(CommandLine, OptionsThatContradictEachOtherAreMistakes) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"revoke", "-t", "a", "--key-id", "k"},
           {"revoke", "-t", "a", "--reason", "r", "--key-id", "k", "--version", "1"},
           {"revoke", "-t", "a", "--reason", "r", "--version", "1", "--type", "other"},
           {"revoke", "-t", "a", "--reason", "r", "--version", "0", "--type", "signing"},
           {"rotate", "-t", "a", "--all"},
           {"rotate", "--all", "--dry-run", "--no-wait"},
           {"rotate", "--all", "--stagger-ms", "3600001"},
           {"rotate", "--all", "--stagger-ms", "-1"},
           {"tenants", "destroy", "a"},
           {"tenants", "destroy", "--confirm", "a"},
           {"keys"},
           {"keys", "list"},
           {"rotation-report", "--format", "xml"},
           {"rotation-report", "--format", "csv", "--json"},
           {"decrypt", "-t", "a", "--allow-revoked=maybe"}}) {
    EXPECT_EQ(finished(arguments).code, ExitCode::usage) << testing::PrintToString(arguments);
  }
}

TEST(CommandLine, MistakesEndWithTwoAndSayWhereHelpIs) {
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"sing"},
                                             {"sign"},
                                             {"sign", "-t", "a", "f", "g"},
                                             {"status", "--nope"},
                                             {"tenants"},
                                             {"tenants", "create"},
                                             {"health", "dead"},
                                             {"completion", "tcsh"},
                                             {"status", "--timeout", "0"},
                                             {"sign", "-t", "a", "--raw", "--json"}}) {
    const auto end = finished(arguments);
    EXPECT_EQ(end.code, ExitCode::usage);
    EXPECT_TRUE(end.out.empty());
    EXPECT_TRUE(end.err.starts_with("betrace-kms: ")) << end.err;
    EXPECT_NE(end.err.find("--help"), std::string::npos) << end.err;
  }
}

TEST(CommandLine, EveryCommandHasHelpWithAnExample) {
  for (const auto& command : std::vector<std::vector<std::string>>{{"serve"},
                                                                   {"status"},
                                                                   {"health"},
                                                                   {"validate"},
                                                                   {"tenants"},
                                                                   {"tenants", "list"},
                                                                   {"tenants", "create"},
                                                                   {"tenants", "show"},
                                                                   {"sign"},
                                                                   {"verify"},
                                                                   {"encrypt"},
                                                                   {"decrypt"},
                                                                   {"rotate"},
                                                                   {"rewrap"},
                                                                   {"revoke"},
                                                                   {"keys"},
                                                                   {"keys", "list"},
                                                                   {"keys", "destroy"},
                                                                   {"tenants", "destroy"},
                                                                   {"rotation-report"},
                                                                   {"public-keys"},
                                                                   {"doctor"},
                                                                   {"config"},
                                                                   {"version"},
                                                                   {"completion"}}) {
    auto arguments = command;
    arguments.push_back("--help");
    const auto end = finished(arguments);
    EXPECT_EQ(end.code, ExitCode::ok);
    EXPECT_NE(end.out.find("Example: betrace-kms " + command.front()), std::string::npos)
        << end.out;
    EXPECT_TRUE(end.err.empty());
  }
}

TEST(Completion, KnowsEveryCommandAndOption) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const auto script = completion_script(shell);
    for (const std::string word : {"serve", "public-keys", "create", "verify-evidence", "tenant",
                                   "token-file", "signature", "serving"}) {
      EXPECT_NE(script.find(word), std::string::npos) << shell << " " << word;
    }
  }
}

// What bash offers for a line, with the script sourced.
std::string offered_by_bash(const std::string& words) {
  const auto script = completion_script("bash");
  const auto command = "bash -c '" + std::string(R"(eval "$0"; COMP_WORDS=($1); )") +
                       R"(COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); [[ $1 == *" " ]] && )" +
                       R"({ COMP_WORDS+=(""); COMP_CWORD=$((COMP_CWORD + 1)); }; )" +
                       R"(_betrace_kms; echo "${COMPREPLY[@]}"' "$SCRIPT" ')" + words + "'";
  setenv("SCRIPT", script.c_str(), 1);
  std::string out;
  if (auto* pipe = popen(command.c_str(), "r")) {
    for (int c = fgetc(pipe); c != EOF; c = fgetc(pipe)) out += static_cast<char>(c);
    pclose(pipe);
  }
  unsetenv("SCRIPT");
  return out;
}

TEST(Completion, BashOffersWhatFits) {
  EXPECT_EQ(offered_by_bash("betrace-kms si"), "sign\n");
  EXPECT_EQ(offered_by_bash("betrace-kms tenants "), "list create show destroy\n");
  EXPECT_EQ(offered_by_bash("betrace-kms keys "), "list destroy\n");
  EXPECT_EQ(offered_by_bash("betrace-kms rotate --d"), "--dry-run\n");
  EXPECT_EQ(offered_by_bash("betrace-kms revoke --rea"), "--reason\n");
  EXPECT_EQ(offered_by_bash("betrace-kms tenants list --li"), "--limit\n");
  EXPECT_EQ(offered_by_bash("betrace-kms sign --tenant "), "\n");
  EXPECT_EQ(offered_by_bash("betrace-kms --config x health s"), "started serving\n");
}

}  // namespace
}  // namespace betrace::kms
