#pragma once
// Pages that will be read in their order, mostly from disk: where the server can read ahead (streams, from 17 on), it does.

#include "pg/pg.hpp"

extern "C" {
#include "storage/buf.h"
#include "utils/relcache.h"
}

struct ReadStream;  // the server's

namespace tandem::storage {

/// Page numbers as blocks. Called between reads: must neither read nor wait.
struct PageMap {
  BlockNumber (*block_of)(const void* pages, uint32 page);
  const void* pages;
};

/// Plain data, zero to begin with; the server's stream has a pointer to it while it runs.
struct PageSweep {
  ReadStream* stream;  ///< nullptr: none runs
  PageMap map;
  uint32 told;  ///< the next page that the stream will be told of
  uint32 next;  ///< the next page that it will bring
  uint32 end;
};

/// Pages [first, end) will be read, in ascending order. `relation`, what `map` points to and the current memory context must outlive the
/// sweep. strategy: may be nullptr. Ends one that runs. Nothing happens on servers without streams.
void BeginSweep(PageSweep* sweep, Relation relation, BufferAccessStrategy strategy, const PageMap& map,
                uint32 first, uint32 end);
/// The page's buffer, pinned, if the sweep brings it, and then never again; else InvalidBuffer. Those before it are passed over.
[[nodiscard]] Buffer TakeFromSweep(PageSweep* sweep, uint32 page);
void EndSweep(PageSweep* sweep);

}  // namespace tandem::storage
