// Not built. tools/check_tidy shows this to clang-tidy first, which must refuse it: were a dropped
// Result to pass unseen, nothing else would tell.
#include "betrace/kms/result.h"

betrace::kms::Status store();
betrace::kms::Result<int> count();

void drop() {
  store();
  count();
}
