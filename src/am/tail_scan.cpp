// What a row of the tail costs here is its code: 448 bytes at 768 dimensions in 4 bits, one after the other, in place of 3 KB that
// lie on pages. A code is made once, by the search that first finds it missing, and is everybody's from then on: row ids are only
// ever appended, and vectors never change (storage/README.md).

#include "pg/compat.hpp"

#include "am/tail_scan.hpp"

#include <algorithm>

#include "graph/prefetch.hpp"
#include "pg/stop_point.hpp"
#include "shmem/frame_pool.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::am {

namespace {

// Fewer rows are compared exactly in about the time of finding the codes, and a tail takes two frames at least.
constexpr uint64 kFewestRows = 32;
// What one frame holds of a table of chunks; at 768 dimensions 2.7 million rows. Those beyond are compared exactly.
constexpr uint32 kMostChunks = shmem::ChunkTable::kChunksPerFrame;
// Making a code costs ten times what comparing a vector exactly does: a search that finds many missing makes as many as
// this allows, for those that come after it.
constexpr double kMakeMs = 2.0;
// Chunks that are compared without leaving the frames: about a millisecond.
constexpr uint32 kChunksInside = 256;
// Codes that are looked at together.
constexpr uint32 kBlock = shmem::kTailMarksPerWord;
// Tails whose codes take less stay in a cache of the third level; of larger ones every line comes from memory, and
// asking for it in time halves what a code costs (50,000 codes of 448 bytes: 10 ns instead of 19; 10,000: 8.6 instead of 6.9).
constexpr std::size_t kCacheBytes = std::size_t{8} << 20;
constexpr std::size_t kAheadBytes = 8192;
constexpr uint32 kAheadRows = 4;

/// Time since it was made.
class Watch {
 public:
  Watch() { INSTR_TIME_SET_CURRENT(start_); }
  [[nodiscard]] bool IsPast(double milliseconds) const {
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    INSTR_TIME_SUBTRACT(now, start_);
    return INSTR_TIME_GET_MILLISEC(now) > milliseconds;
  }

 private:
  instr_time start_;
};

/// Doubles an array of the context that is full.
template <typename T>
void ReserveOneMore(MemoryContext context, T** items, uint32 count, uint32* room) {
  if (count < *room) return;
  *room = Max(2 * *room, uint32{64});
  const Size bytes = *room * sizeof(T);
  *items = static_cast<T*>(*items == nullptr ? MemoryContextAllocHuge(context, bytes)
                                             : repalloc_huge(*items, bytes));
}

/// As WalkQuery::Keys(), while codes that follow further on are on their way.
void KeysAskingAhead(const vec::WalkQuery& query, const std::uint8_t* const* codes, uint32 count,
                     uint32 stride, float* keys) {
  for (uint32 i = 0; i < count; i += kAheadRows) {
    const uint32 rows = Min(kAheadRows, count - i);
    graph::Prefetch(reinterpret_cast<const char*>(codes[i]) + kAheadBytes, rows * stride);
    query.Keys(codes + i, rows, keys + i);
  }
}

}  // namespace

bool TailScan::IsPossible(const TailSearch& search) {
  const CachedSegment& newest = *search.newest;
  const vec::WalkCodec& codec = newest.head.codec;
  const uint64 first_row = search.manifest->root.sealed_rows;
  // With an error that is not known every row would be compared exactly all the same, and so if the codec suits few of the rows.
  return newest.uses_frames && search.rows >= first_row + kFewestRows &&
         newest.head.header.end_row == first_row && std::isfinite(codec.error) && codec.reach >= 0.0F;
}

void TailScan::Open(const TailSearch& search) {
  *this = TailScan{};
  search_ = search;
  context_ = CurrentMemoryContext;
  const vec::WalkCodec& codec = search.newest->head.codec;
  layout_ = shmem::LayOutTail(
      static_cast<uint32>(vec::WalkCodeBytes(codec.code, search.newest->head.header.dimensions)));
  const uint64 tail_rows = search.rows - search.manifest->root.sealed_rows;
  const uint64 chunks = (tail_rows + layout_.per_chunk - 1) / layout_.per_chunk;
  chunks_ = static_cast<uint32>(Min(chunks, uint64{kMostChunks}));
  asks_ahead_ = static_cast<std::size_t>(chunks_) * shmem::kFrameBytes > kCacheBytes;
  covered_ = static_cast<uint32*>(palloc0(chunks_ * sizeof(uint32)));
}

// ---- One pass ----

bool TailScan::Pass(const policy::Candidate* after, float limit, policy::TopCandidates* top) {
  Offers offers = {after, limit, false, top};
  missing_count_ = 0;
  CompareShared(&offers);
  const Watch watch;
  for (uint32 i = 0; i < missing_count_; i++) {
    const Part part = missing_[i];
    if (!decided_) {
      Decide(part, !watch.IsPast(kMakeMs), &offers);
    } else {
      MakeCodes(part);
      ComparePrivate(part, &offers);
    }
  }
  if (vectors_open_) storage::CloseRows(&vectors_);
  if (!decided_) FinishExact();
  decided_ = true;
  return offers.left_out;
}

/// Finds out which codes this search goes by: those that it finds, or can make for others too.
void TailScan::Decide(const Part& part, bool in_time, Offers* offers) {
  if (!in_time || (part.first == 0 && !MakeChunk(part))) {
    AddExact(FirstRowOf(part.chunk) + part.first, FirstRowOf(part.chunk) + part.end);
    return;
  }
  if (part.first > 0) ExtendChunk(part);
  covered_[part.chunk] = part.end;
  ComparePrivate(part, offers);
}

uint32 TailScan::RowsWantedOf(uint32 chunk) const {
  if (decided_) return covered_[chunk];
  return static_cast<uint32>(Min(search_.rows - FirstRowOf(chunk), uint64{layout_.per_chunk}));
}

/// Between EnterFrames() and LeaveFrames().
bool TailScan::Attach(shmem::ChunkTable* table) {
  CachedSegment* newest = search_.newest;
  const shmem::SegmentKey key =
      KeyOf(search_.index, newest->incarnation, newest->id, shmem::SegmentPart::kTail);
  return shmem::FindSegment(key, kMostChunks, &newest->tail_place, table);
}

/// All that shared memory has; what it lacks becomes missing.
void TailScan::CompareShared(Offers* offers) {
  for (uint32 chunk = 0; chunk < chunks_;) {
    CHECK_FOR_INTERRUPTS();
    const uint32 end = Min(chunk + kChunksInside, chunks_);
    shmem::EnterFrames();
    shmem::ChunkTable table;
    const bool is_attached = Attach(&table);
    for (; chunk < end; chunk++) CompareChunk(is_attached ? &table : nullptr, chunk, offers);
    shmem::LeaveFrames();
  }
}

void TailScan::CompareChunk(const shmem::ChunkTable* table, uint32 chunk, Offers* offers) {
  const uint32 wanted = RowsWantedOf(chunk);
  const char* frame = table != nullptr ? table->Chunk(chunk) : nullptr;
  uint32 there = 0;
  if (asks_ahead_ && table != nullptr && chunk + 1 < chunks_) {
    const char* next = table->Chunk(chunk + 1);
    if (next != nullptr) graph::Prefetch(next, kAheadBytes);
  }
  if (frame != nullptr) {
    const shmem::TailChunk codes(frame, layout_);
    there = Min(codes.rows(), wanted);
    Compare(
        FirstRowOf(chunk), there, codes.codes(), [&](uint32 word) { return codes.Marks(word); }, offers);
  }
  if (!decided_) covered_[chunk] = there;
  if (there < wanted) AddMissing({chunk, there, wanted});
}

void TailScan::ComparePrivate(const Part& part, Offers* offers) {
  Compare(
      FirstRowOf(part.chunk) + part.first, part.end - part.first, codes_,
      [this](uint32 word) { return marks_[word]; }, offers);
}

template <typename MarksOf>
void TailScan::Compare(uint64 first_row, uint32 count, const std::uint8_t* codes, const MarksOf& marks_of,
                       Offers* offers) {
  for (uint32 first = 0; first < count; first += kBlock) {
    CompareBlock(first_row + first, Min(kBlock, count - first),
                 codes + static_cast<std::size_t>(first) * layout_.stride, marks_of(first / kBlock), offers);
  }
}

void TailScan::CompareBlock(uint64 first_row, uint32 count, const std::uint8_t* codes, uint64 marks,
                            Offers* offers) {
  const std::uint8_t* code_of[kBlock] = {codes};
  float keys[kBlock];
  for (uint32 i = 1; i < count; i++) code_of[i] = codes + static_cast<std::size_t>(i) * layout_.stride;
  if (asks_ahead_)
    KeysAskingAhead(*search_.query, code_of, count, layout_.stride, keys);
  else
    search_.query->Keys(code_of, count, keys);
  compared_ += count;
  // Bits behind the last row are of rows that others added meanwhile.
  if (count < kBlock) marks &= (uint64{1} << count) - 1;
  if (!decided_) {
    coded_rows_ += count;
    for (uint64 left = marks; left != 0; left &= left - 1) {
      const uint64 row = first_row + static_cast<uint64>(__builtin_ctzll(left));
      AddExact(row, row + 1);
      coded_rows_--;
    }
  }
  for (uint32 i = 0; i < count; i++) {
    if ((marks >> i & 1) != 0) continue;
    if (keys[i] > offers->limit) {
      offers->left_out = true;
      continue;
    }
    const policy::Candidate candidate = {policy::ToOrderedKey(static_cast<double>(keys[i])),
                                         base::RowId{first_row + i}};
    if (offers->after != nullptr && !(*offers->after < candidate)) continue;
    offers->top->Offer(candidate);
  }
}

// ---- Making codes ----

/// Makes a chunk with these rows for all; false, having done nothing, if no memory is to be had, or somebody else makes it.
bool TailScan::MakeChunk(const Part& part) {
  char* frame = shmem::BeginChunk(search_.newest->tail_place, part.chunk);
  if (frame == nullptr) return false;
  MakeCodes(part);
  const shmem::TailChunk chunk(frame, layout_);
  chunk.Init();
  chunk.Append(0, part.end, codes_, marks_);
  pg::StopPoint("tail-chunk-made");
  shmem::FinishChunk(search_.newest->tail_place, part.chunk);
  return true;
}

/// Makes these codes, and adds them to their chunk unless that has gone or somebody else adds to it.
void TailScan::ExtendChunk(const Part& part) {
  MakeCodes(part);
  pg::StopPoint("tail-codes-made");
  shmem::EnterFrames();
  shmem::ChunkTable table;
  const char* frame = Attach(&table) ? table.Chunk(part.chunk) : nullptr;
  if (frame != nullptr) shmem::TailChunk(frame, layout_).Append(part.first, part.end, codes_, marks_);
  shmem::LeaveFrames();
}

/// Into codes_ and marks_.
void TailScan::MakeCodes(const Part& part) {
  const MemoryContext old_context = MemoryContextSwitchTo(context_);
  if (codes_ == nullptr) {
    const storage::DirectoryView* directory = search_.directory;
    storage::OpenRows(&vectors_, search_.index, directory, search_.manifest,
                      storage::NewRowScratch(*directory), nullptr);
    vectors_open_ = true;
    code8_ = static_cast<std::uint8_t*>(palloc(directory->dimensions));
    marks_ = static_cast<uint64*>(palloc(shmem::TailMarkWords(layout_.per_chunk) * sizeof(uint64)));
    codes_ = static_cast<std::uint8_t*>(palloc0(static_cast<Size>(layout_.per_chunk) * layout_.stride));
  }
  MemoryContextSwitchTo(old_context);
  const uint32 count = part.end - part.first;
  std::fill_n(marks_, shmem::TailMarkWords(count), uint64{0});
  for (uint32 i = 0; i < count; i++) {
    std::uint8_t* code = codes_ + static_cast<std::size_t>(i) * layout_.stride;
    if (!MakeCode(FirstRowOf(part.chunk) + part.first + i, code))
      marks_[i / kBlock] |= uint64{1} << (i % kBlock);
  }
  made_ += count;
}

/// False if no code stands for the row well enough for the bounds of distances that WalkQuery gives.
bool TailScan::MakeCode(uint64 row, std::uint8_t* to) {
  const vec::WalkCodec& codec = search_.newest->head.codec;
  const float* vector = storage::ReadVector(&vectors_, row);
  if (unlikely(vector == nullptr) || !vec::IsCodable(codec.base.metric, vector, codec.base.dimensions)) {
    std::fill_n(to, layout_.stride, std::uint8_t{0});
    return false;
  }
  if (vec::IsMadeOfVectors(codec.code)) {
    vec::MakeWalkCode(codec, vector, to);
    return vec::WalkResidual(codec, vector, nullptr) <= static_cast<double>(codec.error);
  }
  vec::EncodeVector(codec.base, vector, code8_);
  vec::MakeWalkCode(codec, code8_, to);
  // By the triangle inequality the error holds for a row that is no farther from its code than that.
  return vec::WalkResidual(codec, vector, code8_) <= static_cast<double>(Max(codec.reach, codec.error));
}

// ---- Lists ----

void TailScan::AddMissing(const Part& part) {
  ReserveOneMore(context_, &missing_, missing_count_, &missing_room_);
  missing_[missing_count_++] = part;
}

void TailScan::AddExact(uint64 first, uint64 end) {
  if (exact_count_ > 0 && exact_[exact_count_ - 1].end == first) {
    exact_[exact_count_ - 1].end = end;
    return;
  }
  ReserveOneMore(context_, &exact_, exact_count_, &exact_room_);
  exact_[exact_count_++] = {first, end};
}

void TailScan::FinishExact() {
  const uint64 coded_end = chunks_ == kMostChunks ? Min(FirstRowOf(chunks_), search_.rows) : search_.rows;
  if (coded_end < search_.rows) AddExact(coded_end, search_.rows);
  // Rows without a code came chunk by chunk, chunks without codes after them.
  std::sort(exact_, exact_ + exact_count_,
            [](const storage::RowRange& a, const storage::RowRange& b) { return a.first < b.first; });
}

}  // namespace tandem::am
