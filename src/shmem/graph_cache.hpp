#pragma once
// Chunks of segments in frames, shared by all sessions. What a chunk holds is its loader's business; here it is 64 KB that
// belong to a key and a number.
//
// A segment's content never changes, and its key is never used for another (page_format.hpp): whatever is found here is
// right. What is not found is read from pages. Losing any of it costs time only.

#include "shmem/frame_pool.hpp"

extern "C" {
#include "port/atomics.h"
}

namespace tandem::shmem {

/// Names one content for ever, within one life of the server's shared memory. Not for temporary relations.
struct SegmentKey {
  Oid database;
  Oid tablespace;
  Oid file_node;  ///< relfilenode
  uint32 segment;
  uint64 incarnation;
};

/// Where this backend last found a segment; plain data, a hint that is checked at every use.
struct CachedSegmentRef {
  uint32 slot;
  uint64 generation;  ///< 0: never attached
};

/// The chunks of a segment that are in memory. Valid from EnterFrames() to LeaveFrames().
struct ChunkTable {
  static constexpr uint32 kChunksPerFrame = kFrameBytes / sizeof(uint32);
  static constexpr uint32 kFrames = 64;  ///< 64 GB of chunks

  const char* base;  ///< FrameBase()
  const pg_atomic_uint32* frame_of[kFrames];

  /// nullptr if it is not in memory.
  [[nodiscard]] const char* Chunk(uint32 chunk) const {
    const uint32 frame = pg_atomic_read_u32(
        const_cast<pg_atomic_uint32*>(&frame_of[chunk / kChunksPerFrame][chunk % kChunksPerFrame]));
    return frame == kNoFrame ? nullptr : base + static_cast<Size>(frame) * kFrameBytes;
  }
};

/// Finds the segment's place, or makes one; marks it as used. Takes a lock only if `ref` no longer holds. False if there are no
/// frames, or none can be had for its table. Between EnterFrames() and LeaveFrames().
[[nodiscard]] bool FindSegment(const SegmentKey& key, uint32 chunks, CachedSegmentRef* ref,
                               ChunkTable* table);

/// A frame to load a chunk into, or nullptr: somebody else loads it or has done so, or no memory is to be had for it. Frames come
/// from the free ones, then from segments that have not been used for a while, never from the segment itself: one that is
/// larger than the budget keeps what it has. Outside of EnterFrames().
[[nodiscard]] char* BeginChunk(const CachedSegmentRef& ref, uint32 chunk);
/// Everybody can see it now. Frees the frame instead if the segment has gone meanwhile.
void FinishChunk(const CachedSegmentRef& ref, uint32 chunk);
/// Gives the frame back. After an error this happens by itself.
void AbandonChunk();

/// The segment is not needed any more (it was retired, or its index dropped): its frames go back.
void ForgetSegment(const SegmentKey& key);
/// All segments of a file that are not in `keep`.
void ForgetFile(Oid database, Oid file_node);

/// What is cached, for views.
struct CachedSegmentStatus {
  SegmentKey key;
  uint32 chunks;  ///< of the whole segment
  uint32 cached_chunks;
  uint64 loads;
  uint64 evictions;
  uint64 used_at;  ///< larger is later
};
/// Copies at most `room`; returns how many there are.
[[nodiscard]] uint32 ReadGraphCacheStatus(CachedSegmentStatus* to, uint32 room);

}  // namespace tandem::shmem
