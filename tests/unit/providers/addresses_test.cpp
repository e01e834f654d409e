#include "providers/addresses.h"

#include <gtest/gtest.h>

namespace betrace::kms {
namespace {

TEST(Addresses, OfThisMachineShowNobodySecrets) {
  for (const auto* own : {"http://localhost", "http://localhost:8200/v1", "http://127.0.0.1:1",
                          "http://127.1.2.3", "http://[::1]:8200", "http://vault.localhost"}) {
    EXPECT_FALSE(shows_secrets(own)) << own;
  }
  EXPECT_FALSE(shows_secrets("https://example.com"));
}

TEST(Addresses, ThatOnlyBeginLikeThisMachineAreOthers) {
  for (const auto* other : {"http://localhost.example.com", "http://localhosts", "http://10.0.0.1",
                            "http://127.example.com", "http://[::1:2]", "http://[2001:db8::1]",
                            "http://example.com/localhost"}) {
    EXPECT_TRUE(shows_secrets(other)) << other;
  }
}

TEST(Addresses, HaveAHost) {
  EXPECT_EQ(host_of("https://acme.vault.azure.net"), "acme.vault.azure.net");
  EXPECT_EQ(host_of("https://h:1/p"), "h");
  EXPECT_EQ(host_of("https://h/p:1"), "h");
  EXPECT_EQ(host_of("https://[::1]:1/p"), "[::1]");
  EXPECT_EQ(host_of("h"), "");
}

}  // namespace
}  // namespace betrace::kms
