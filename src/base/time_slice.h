// How the kernel's scheduler treats a thread that computes for long while others wait for requests.
#pragma once

namespace betrace::kms {

// The calling thread takes its share of the processor in the longest slices there are, and so
// yields at once to whoever wakes up and asks for shorter ones, as every thread does that says
// nothing; its share stays what it was. Linux 6.12 and later; before, and where it is forbidden,
// nothing happens.
void take_long_slices();

// Lets everybody who waits for this processor go first; at once back when nobody does. For loops of
// such a thread, whose rounds are shorter than a slice.
void let_others_run();

}  // namespace betrace::kms
