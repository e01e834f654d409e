#include <fstream>
#include <set>
#include <sstream>

#include "api/openapi.h"
#include "api/route.h"
#include "base/json.h"
#include "support/api_world.h"

namespace betrace::kms {
namespace {

std::string lower(std::string text) {
  for (auto& c : text) c = static_cast<char>(std::tolower(c));
  return text;
}

std::set<std::string> table_operations() {
  std::set<std::string> operations;
  for (const auto& route : routes()) {
    operations.insert(std::string(route.method) + " " + std::string(route.pattern));
  }
  return operations;
}

std::string filled(std::string_view pattern) {
  std::string path(pattern);
  for (const auto& [name, value] : {std::pair{"{id}", "acme"}, std::pair{"{keyId}", "k"}}) {
    if (const auto at = path.find(name); at != std::string::npos) {
      path.replace(at, std::string_view(name).size(), value);
    }
  }
  return path;
}

TEST(Routes, AreEachNamedOnce) { EXPECT_EQ(table_operations().size(), routes().size()); }

TEST(Routes, AreThoseOfTheOpenApiDocument) {
  JsonDocument document;
  const auto parsed = document.parse(openapi_document());
  ASSERT_TRUE(parsed) << parsed.error().message;
  const auto& root = document.root().as_object();
  EXPECT_TRUE(std::string_view(root.at("openapi").as_string().c_str()).starts_with("3.1."));
  std::set<std::string> documented;
  for (const auto& path : root.at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      if (operation.key() == "parameters") continue;
      auto method = std::string(operation.key());
      for (auto& c : method) c = static_cast<char>(std::toupper(c));
      documented.insert(method + " " + std::string(path.key()));
    }
  }
  EXPECT_EQ(documented, table_operations());
}

TEST(Routes, TheOpenApiDocumentRefersOnlyToWhatItDefines) {
  const auto document = boost::json::parse(
      boost::json::string_view(openapi_document().data(), openapi_document().size()));
  const std::string text(openapi_document());
  const std::string marker = "\"$ref\": \"#/components/";
  std::size_t found = 0;
  for (auto at = text.find(marker); at != std::string::npos; at = text.find(marker, at + 1)) {
    const auto begin = at + marker.size();
    const auto path = text.substr(begin, text.find('"', begin) - begin);
    const auto slash = path.find('/');
    const auto& kind = document.at("components").at(path.substr(0, slash)).as_object();
    EXPECT_TRUE(kind.contains(path.substr(slash + 1))) << path;
    ++found;
  }
  EXPECT_GT(found, 50U);
}

TEST(Routes, OpenApiMarksTheSameRoutesAsOpen) {
  const auto document = boost::json::parse(
      boost::json::string_view(openapi_document().data(), openapi_document().size()));
  for (const auto& route : routes()) {
    const auto& operation = document.at("paths")
                                .at(std::string(route.pattern))
                                .at(lower(std::string(route.method)))
                                .as_object();
    const auto* security = operation.if_contains("security");
    EXPECT_EQ(security && security->as_array().empty(), route.permission == Permission::none)
        << route.pattern;
    EXPECT_EQ(security && security->as_array().size() == 2,
              route.permission == Permission::anonymous_read)
        << route.pattern;
  }
}

TEST(Routes, AreThoseOfTheDocumentation) {
  std::ifstream file(BETRACE_SOURCE_DIR "/docs/api.md");
  ASSERT_TRUE(file);
  std::set<std::string> documented;
  for (std::string line; std::getline(file, line);) {
    // | `GET /q/health` | …
    if (!line.starts_with("| `")) continue;
    const auto end = line.find('`', 3);
    documented.insert(line.substr(3, end - 3));
  }
  EXPECT_EQ(documented, table_operations());
}

TEST(Routes, AllHaveADeadlineABodyLimitAndAVerb) {
  for (const auto& route : routes()) {
    EXPECT_GT(route.deadline.count(), 0) << route.pattern;
    EXPECT_GE(route.body_bytes_max, 1U << 20) << route.pattern;
    EXPECT_FALSE(route.verb.empty()) << route.pattern;
  }
}

TEST(Routes, EachAnswersSomethingThatIsItsOwn) {
  ApiWorld world;
  world.keys.add_tenant("acme");
  for (const auto& route : routes()) {
    const auto answer = world.call(std::string(route.method), filled(route.pattern), "{}");
    EXPECT_NE(answer.status, 500) << route.method << route.pattern << answer.body;
    EXPECT_NE(answer.code(), "not_found") << route.pattern;
    EXPECT_NE(answer.code(), "method_not_allowed") << route.pattern;
    EXPECT_NE(answer.code(), "not_implemented") << route.pattern;
    EXPECT_FALSE(answer.header("X-Request-Id").empty());
  }
}

TEST(Routes, OfOtlpAreKeptFromStrangers) {
  ApiWorld world;
  EXPECT_EQ(world.raw({.method = "POST", .target = "/v1/traces"}).status, 401);
}

TEST(Routes, UnknownPathsAreNotFound) {
  ApiWorld world;
  for (const auto* path :
       {"/", "/api", "/api/", "/api/tenants/", "/api/tenants/a/b", "//q/health", "/q/health/",
        "/Q/health", "/q/healthx", "/api/tenants/a/sign/b", "/1/2/3/4/5/6/7/8/9/10", "*", ""}) {
    const auto answer = world.get(path);
    const bool empty_id = std::string_view(path) == "/api/tenants/";
    EXPECT_EQ(answer.status, empty_id ? 400 : 404) << path;
    EXPECT_EQ(answer.type, "application/problem+json");
  }
}

TEST(Routes, OtherMethodsOfAPathAreNamed) {
  ApiWorld world;
  const auto answer = world.call("PATCH", "/api/tenants/acme");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.code(), "method_not_allowed");
  EXPECT_EQ(answer.header("Allow"), "GET, PUT, DELETE");
  EXPECT_EQ(world.get("/api/tenants/acme/sign").header("Allow"), "POST");
  EXPECT_EQ(world.call("OPTIONS", "/q/health").status, 405);
  EXPECT_EQ(world.call("G\"ET", "/q/health").status, 405);
}

TEST(Routes, AHeadIsAnsweredAsAGet) {
  ApiWorld world;
  EXPECT_EQ(world.call("HEAD", "/q/health/live").status, 200);
  EXPECT_EQ(world.call("HEAD", "/api/tenants/acme/sign").status, 405);
}

}  // namespace
}  // namespace betrace::kms
