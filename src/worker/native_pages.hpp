#pragma once
// Pages of the native indexes beside ours, for loads that are about to ask them: when filters gain memory, sets that were given up are
// made again by whoever asks for them, and that begins with these pages.
//
// Sets themselves are not made here. Making one evaluates a condition, which runs functions of whoever made the type, the operator
// class or the expression, with values of whoever has asked: nobody has asked this process (H34). Pages are read without looking at
// what is on them.

#include "pg/pg.hpp"

namespace tandem::worker {

/// Reads those into shared_buffers that were ever scanned, the most scanned first, up to a part of the buffers. In steps of a
/// transaction each; indexes that somebody has locked are left out; an error is logged. Serves interrupts.
void ReadNativePagesIn(const Oid* indexes_of_ours, int count);

}  // namespace tandem::worker
