#include "evidence/otlp_forwarder.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <gtest/gtest.h>

#include "evidence/otlp_ingest.h"
#include "support/fake_clock.h"
#include "support/scripted_http.h"
#include "unit/evidence/journal_fixture.h"

namespace betrace::kms {
namespace {

namespace fs = std::filesystem;

class Refusing final : public ScriptedHttp {
  Result<HttpAnswer> answer(const Seen& /*seen*/) override { return json(400, ""); }
};

class OtlpForwarderTest : public JournalTest {
 protected:
  void append_request(const std::string& request) {
    std::promise<void> written;
    journal_->append(
        [&]() -> Result<std::vector<JournalRecord>> {
          return std::vector<JournalRecord>{{.kind = OtlpIngest::traces_record, .bytes = request}};
        },
        [&](const Result<JournalPosition>&) { written.set_value(); });
    written.get_future().get();
  }
  std::unique_ptr<OtlpForwarder> forward() {
    return std::make_unique<OtlpForwarder>(
        OtlpForwarderOptions{.endpoint = "http://next", .headers = {}, .refused_folder = refused_},
        *journal_, http_, clock_, metrics_);
  }
  bool anything_waits() const { return journal_->bytes_behind("forward") > 0; }
  void until_nothing_waits() const {
    while (anything_waits()) std::this_thread::yield();
  }
  Texts kept() const {
    Texts texts;
    for (const auto& entry : fs::directory_iterator(refused_)) {
      std::ifstream file(entry.path(), std::ios::binary);
      texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    std::ranges::sort(texts);
    return texts;
  }

  std::unique_ptr<Journal> journal_ = open();
  const std::string refused_ = folder_.file("refused");
  FakeClock clock_;
  Metrics metrics_{"fake"};
  Refusing http_;
};

TEST_F(OtlpForwarderTest, WhatIsRefusedForGoodInOneMomentIsKeptEachInAFileOfItsOwn) {
  const Texts requests{"one", "three", "two"};
  for (const auto& request : requests) append_request(request);
  const auto forwarder = forward();
  until_nothing_waits();
  EXPECT_EQ(kept(), requests);
  EXPECT_EQ(clock_.slept().count(), 0) << "each at another time proves nothing";
}

TEST_F(OtlpForwarderTest, WhatIsRefusedForGoodAndCannotBeKeptWaitsUntilItCan) {
  folder_.write("refused", "a file where the folder belongs");
  append_request("one");
  const auto forwarder = forward();
  while (http_.seen().size() < 5) std::this_thread::yield();
  EXPECT_TRUE(anything_waits());
  EXPECT_EQ(metrics_.otlp_forwards("refused").Value(), 0);
  fs::remove(refused_);
  until_nothing_waits();
  EXPECT_EQ(kept(), Texts{"one"});
  EXPECT_EQ(metrics_.otlp_forwards("refused").Value(), 1);
}

}  // namespace
}  // namespace betrace::kms
