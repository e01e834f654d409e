#include <gtest/gtest.h>

#include "support/api_world.h"

namespace betrace::kms {
namespace {

const std::string base_path = "/api/tenants/acme/evidence/";

TEST(EvidenceArchiveRoutes, TellTheKeyAndTheCheckpoint) {
  ApiWorld world;
  world.archive.text = "log+00000000+AAAA";
  EXPECT_EQ(world.get("/api/compliance/log-key").body, R"({"key":"log+00000000+AAAA"})");
  world.archive.text = "origin\n3\n";
  const auto note = world.get(base_path + "checkpoint");
  EXPECT_EQ(note.body, "origin\n3\n");
  EXPECT_EQ(note.type, "text/plain; charset=utf-8");
}

TEST(EvidenceArchiveRoutes, FindALeafByIndexOrHash) {
  ApiWorld world;
  world.archive.text = "";
  world.archive.included = {.size = 3, .leaf = {}, .proof = {}, .checkpoint = "n"};
  EXPECT_EQ(world.get(base_path + "inclusion?index=2").body,
            R"({"index":"2","size":"3","leafHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",)"
            R"("proof":[],"checkpoint":"n"})");
  EXPECT_EQ(world.get(base_path + "inclusion?leaf=" + std::string(64, 'f')).status, 200);
  EXPECT_EQ(world.archive.leaf[31], 0xff);
  for (const std::string bad :
       {"", "?index=", "?index=-1", "?index=x", "?leaf=12", "?index=18446744073709551616"}) {
    EXPECT_EQ(world.get(base_path + "inclusion" + bad).status, 400) << bad;
  }
}

TEST(EvidenceArchiveRoutes, HandOnProofsLeavesAndHeads) {
  ApiWorld world;
  EXPECT_NE(world.get(base_path + "consistency?first=7").body.find(R"("first":"7","second":"9")"),
            std::string::npos);
  EXPECT_EQ(world.get(base_path + "leaves?begin=1&end=3").body, "{}\n{\"a\":1}\n");
  EXPECT_EQ(world.archive.end, 3U);
  EXPECT_EQ(world.get(base_path + "bundle?from=2026-01-01&to=2026-03-31&held=12").body,
            R"({"begin":"3","end":"5","head":"{}"})");
  EXPECT_EQ(world.archive.held, 12U);
  EXPECT_EQ(*world.archive.period.to - *world.archive.period.from, std::chrono::days(90));
  EXPECT_EQ(world.get(base_path + "bundle?from=2026-01-02&to=2026-01-01").status, 400);
  EXPECT_EQ(world.get(base_path + "leaves?begin=1").status, 400);
}

TEST(EvidenceArchiveRoutes, WhatIsNotThereIs404AndNobodyReadsWithoutTheToken) {
  ApiWorld world;
  world.archive.text = fail(ErrorCode::not_found, "no evidence");
  EXPECT_EQ(world.get(base_path + "checkpoint").status, 404);
  for (const auto* path : {"checkpoint", "bundle", "leaves?begin=0&end=1"}) {
    EXPECT_EQ(
        world.raw({.method = "GET", .target = base_path + path, .headers = {}, .body = {}}).status,
        401)
        << path;
  }
}

}  // namespace
}  // namespace betrace::kms
