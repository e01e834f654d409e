// Runs work on an executor and hands its result on; a full queue becomes `overloaded`.
#pragma once

#include <memory>
#include <utility>

#include "betrace/kms/result.h"

#include "base/executor.h"

namespace betrace::kms {

template <class T, class Work>
void run_on(Executor& executor, Done<T> done, Work work) {
  // Shared, because a refused job is gone by the time we learn of it.
  auto shared = std::make_shared<Done<T>>(std::move(done));
  if (executor.post([shared, work = std::move(work)]() mutable { (*shared)(work()); })) return;
  (*shared)(fail(ErrorCode::overloaded, "too much work is waiting; try again in a moment"));
}

}  // namespace betrace::kms
