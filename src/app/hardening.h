// What a process that holds keys does before it holds one: no core dumps, no debugger of the same
// user, private files, as much locked memory and as many sockets as the system grants.
// Call from main(), before the first thread.
#pragma once

namespace betrace::kms {

// Best effort by design: where the system refuses, the service still runs; that its secrets are not
// locked shows in secret_memory_state().
void harden_process();

// Keeps the heap small with many threads that are mostly asleep.
void tune_heap();

// Takes the program's code out of the resident set once it has started: what start-up alone needed
// does not come back, the rest does from the page cache when it is next run.
void forget_start_up_code();

}  // namespace betrace::kms
