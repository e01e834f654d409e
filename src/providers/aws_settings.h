// What the AWS provider is told: which key, which region, which addresses; checked once at start.
// Thread-safe: plain values.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/result.h"

#include "providers/aws_profile.h"
#include "providers/catalog.h"

namespace betrace::kms {

// arn:aws:kms:eu-west-1:123456789012:key/… taken apart; the views point into the text.
struct AwsArn {
  std::string_view partition, service, region, account, resource;
};
std::optional<AwsArn> parse_arn(std::string_view text);

// Whether both name one KMS key as far as the text shows: the last part of an ARN is the key id.
bool same_kms_key(std::string_view a, std::string_view b);

// Of AWS's own endpoints: those with FIPS 140 validated cryptography, those that speak IPv6 as
// well.
struct AwsEndpointKind {
  bool fips = false, dual_stack = false;
};
// "https://kms.us-east-1.amazonaws.com", "https://kms-fips.us-east-1.api.aws"; other partitions
// have their own domains.
std::string aws_service_url(std::string_view service, std::string_view region,
                            AwsEndpointKind kind = {});

// A region in which requests are made; addresses without a slash at the end.
struct AwsRegion {
  std::string name;
  std::string kms_url, sts_url;
};

// How `region` names the key: a multi-region key has one id (mrk-…) and an ARN in each region. What
// is no ARN of such a key is itself.
// docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
std::string key_in_region(std::string_view key_id, std::string_view region);

struct AwsSettings {
  std::string key_id;  // ARN, alias ARN, key id or alias/…
  AwsRegion home;
  std::vector<AwsRegion> replicas;  // of a multi-region key, in the order in which they are asked
  AwsEndpointKind endpoints;
  std::vector<std::string> warnings;  // sentences for the log
};

// `profile`: the user's, whose region, endpoint_url, use_fips_endpoint and use_dualstack_endpoint
// are taken where neither a setting nor a variable says otherwise. Errors: invalid_argument.
Result<AwsSettings> read_aws_settings(const ProviderEnvironment& environment,
                                      const AwsProfile& profile);

}  // namespace betrace::kms
