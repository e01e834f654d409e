// `credential_process` of an AWS profile
// (docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html): a program that prints
// credentials. Run without a shell; what it prints to standard error is not read, for it may hold
// secrets. Thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "betrace/kms/call_context.h"
#include "betrace/kms/clock.h"
#include "betrace/kms/result.h"

#include "providers/aws_credentials.h"

namespace betrace::kms {

// The words of a command line: separated by blanks, quoted by '"'. Nothing when a quote is not
// closed.
std::optional<std::vector<std::string>> split_command(std::string_view text);

// Killed by its process id at the deadline of `call`, or after a minute. Errors: kms_access_denied,
// without what it printed; kms_timeout.
Result<AwsCredentials> run_credential_process(std::string_view command, const CallContext& call,
                                              const Clock& clock);

}  // namespace betrace::kms
