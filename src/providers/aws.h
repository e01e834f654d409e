// AWS KMS as a provider: the TrentService operations GenerateDataKey, Encrypt, Decrypt and
// DescribeKey as JSON 1.1 over signed HTTP. The encryption context goes as AWS's own
// EncryptionContext, so CloudTrail shows it and any AWS SDK can open what we wrapped.
//
// Decrypt always names the master key that the wrapping records, so a blob slipped in from another
// key is refused by AWS.
#pragma once

#include <memory>

#include "betrace/kms/provider.h"

namespace betrace::kms {

struct ProviderEnvironment;

// Settings: aws.kms.master-key-id, aws.kms.region, aws.kms.endpoint; further the AWS CLI's
// variables and files. Asks nobody: credentials are looked for at the first call.
// Errors: invalid_argument.
Result<std::unique_ptr<Provider>> make_aws_provider(const ProviderEnvironment& environment);

}  // namespace betrace::kms
