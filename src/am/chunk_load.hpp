#pragma once
// Loading chunks of segments into shared memory: after searches that missed some, by the worker, by tandem_prewarm().
//
// Whoever loads has a snapshot that is at least as old as the manifest it read, or holds the builder lock: then the pages that
// the manifest names are the segment's, or tell that they are not.

#include "storage/chunk_fill.hpp"

#include "shmem/graph_cache.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::am {

/// False for temporary indexes, whose pages only one session can read, and without tandem.memory_budget.
[[nodiscard]] bool UsesFrames(Relation index);

[[nodiscard]] shmem::SegmentKey KeyOf(Relation index, uint64 incarnation, uint32 segment,
                                      shmem::SegmentPart part = shmem::SegmentPart::kGraph);

enum class ChunkLoad {
  kLoaded,
  kRefused,     ///< no memory is to be had, or somebody else loads it or has done so
  kUnreadable,  ///< the segment was recycled, or is damaged
};

/// Outside of EnterFrames(). An error on the way leaves nothing behind.
[[nodiscard]] ChunkLoad LoadChunk(const shmem::CachedSegmentRef& ref, storage::ChunkFiller* filler,
                                  uint32 chunk);

// ---- Whole indexes ----

/// How far a load of an index has come. Plain data, {} to begin with; survives that the index is closed between steps.
struct IndexLoad {
  uint32 segment;  ///< id of the one at hand; 0: none
  uint32 chunk;    ///< those before it are loaded
  uint32 done;     ///< segments with an id up to this one need nothing more
  uint64 loaded;   ///< chunks, by this load
};

/// Loads what is missing of the segments that the manifest lists, the newest last, until it is `until` (0: no end). False when
/// nothing is left to do, because all is loaded or because no memory is to be had for more. is_shy: only into free memory,
/// taking none from other segments.
[[nodiscard]] bool StepIndexLoad(Relation index, const storage::Manifest& manifest, IndexLoad* load,
                                 TimestampTz until, bool is_shy);

/// Makes codes of the rows behind the manifest's last segment, for searches to come, until it is `until`; true if there is more to
/// do then. made: how many. The builder lock is held.
[[nodiscard]] bool StepTailLoad(Relation index, const storage::Manifest& manifest, TimestampTz until,
                                uint64* made);

/// Bytes of the index's current segments that are in shared memory.
[[nodiscard]] uint64 BytesInMemory(Relation index, const storage::Manifest& manifest);

/// Gives back the memory of segments of this index that the manifest does not list, and of tails behind any but the last. Searches that use them go on from pages.
void ForgetUnlistedSegments(Relation index, const storage::Manifest& manifest);

/// Gives back the memory of segments whose files have gone from this database: indexes that were dropped, rebuilt or moved.
/// Until somebody calls this their memory lies idle, and whoever needs memory takes it. In a transaction.
void ForgetLostSegments();

}  // namespace tandem::am
