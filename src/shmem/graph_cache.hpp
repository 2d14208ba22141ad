#pragma once
// Chunks of segments in frames, shared by all sessions. What a chunk holds is its loader's business; here it is 64 KB that
// belong to a key and a number.
//
// A segment's content never changes, and its key is never used for another (page_format.hpp): whatever is found here is
// right. What is not found is read from pages. Losing any of it costs time only.

#include "shmem/chunk_directory.hpp"
#include "shmem/frame_pool.hpp"

namespace tandem::shmem {

/// What a process has not told others yet of its searches of a segment.
struct UncountedUses {
  SegmentUses uses;
  float at_once;      ///< so many are told together
  uint32 counted_at;  ///< a second of Now()
};

/// Finds the segment's place, or makes one; marks it as used. Takes a lock only if `ref` no longer holds. False if there are no
/// frames, or none can be had for its table. link_chunks: the last ones, of lists of links. Between EnterFrames() and LeaveFrames().
[[nodiscard]] bool FindSegment(const SegmentKey& key, uint32 chunks, CachedSegmentRef* ref, ChunkTable* table,
                               uint32 link_chunks = 0);

/// Counts a search of the segment, that has read so much of it. Without a lock.
void CountSearch(const CachedSegmentRef& ref, const policy::GraphReads& reads, UncountedUses* uncounted);

/// False if somebody has found within this second that no memory is to be had. No lock.
[[nodiscard]] bool MayHaveRoomForChunks();

/// A frame to load a chunk into, or nullptr: somebody else loads it or has done so, or no memory is to be had for it. Frames come
/// from the free ones, then from segments that have not been used for a while, never from the segment itself: one that is
/// larger than the budget keeps what it has. Outside of EnterFrames(), and one chunk at a time.
[[nodiscard]] char* BeginChunk(const CachedSegmentRef& ref, uint32 chunk);
/// Everybody can see it now. Frees the frame instead if the segment has gone meanwhile.
void FinishChunk(const CachedSegmentRef& ref, uint32 chunk);
/// Gives the frame back. After an error this happens by itself, when the (sub)transaction ends.
void AbandonChunk();

/// The segment is not needed any more (it was retired, or its index dropped): its frames go back.
void ForgetSegment(const SegmentKey& key);
/// All segments of a database.
void ForgetSegmentsOf(Oid database);

/// What becomes of a request for memory. kComing: once readers have left, in a moment, there will be enough; kCleared: if they have, there
/// is now.
enum class Giving { kNothing, kComing, kCleared };

/// For the filter cache, which has found no piece of so many bytes: gives frames up, if what filters would give up themselves is worth
/// more, or puts free ones together.
[[nodiscard]] Giving GraphsGiveWay(Size bytes, double filter_utility);

/// Copies at most `room`; returns how many there are, kMostCachedSegments at most.
[[nodiscard]] uint32 ReadGraphCacheStatus(CachedSegmentStatus* to, uint32 room);
constexpr uint32 kMostCachedSegments = 1024;

}  // namespace tandem::shmem
