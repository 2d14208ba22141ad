// What a row of the tail costs here is its code: 448 bytes at 768 dimensions in 4 bits, one after the other, in place of 3 KB that
// lie on pages. A code is made once, by the search that first finds it missing, and is everybody's from then on: row ids are only
// ever appended, and vectors never change (storage/README.md).

#include "pg/compat.hpp"

#include "am/tail_scan.hpp"

#include <algorithm>

#include "graph/prefetch.hpp"
#include "pg/reserve.hpp"
#include "pg/stop_point.hpp"
#include "pg/stopwatch.hpp"
#include "shmem/frame_pool.hpp"

extern "C" {
#include "utils/float.h"
#include "utils/timestamp.h"
}

namespace tandem::am {

namespace {

// Fewer rows are compared exactly in about the time of finding the codes, and a tail takes two frames at least.
constexpr uint64 kFewestRows = 32;
// What one frame holds of a table of chunks; at 768 dimensions 2.7 million rows. Those beyond are compared exactly.
constexpr uint32 kMostChunks = shmem::ChunkTable::kChunksPerFrame;
// Making a code costs ten to twenty times what comparing a vector exactly does. So a search that finds many missing makes a
// sixteenth of them, and takes about as long for that as for comparing the others exactly; at least as many as are no burden,
// at most for this long. Rows that come in steadily are not all coded by the search that sees them first.
constexpr uint64 kMakeShare = 16;
constexpr uint64 kLeastMade = 32;
constexpr double kMakeMs = 2.0;
// Who finds that others make codes leaves so many rows to them, for so long: comparing those exactly takes less time than making
// codes of a share of them does.
constexpr uint64 kLeftToOthers = 512;
constexpr int64 kOthersMs = 50;
// Chunks that are compared without leaving the frames: about a millisecond.
constexpr uint32 kChunksInside = 256;
// Codes that are looked at together.
constexpr uint32 kBlock = shmem::kTailMarksPerWord;
// Tails whose codes take less stay in a cache of the third level; of larger ones every line comes from memory, and
// asking for it in time halves what a code costs (50,000 codes of 448 bytes: 10 ns instead of 19; 10,000: 8.6 instead of 6.9).
constexpr std::size_t kCacheBytes = std::size_t{8} << 20;
constexpr std::size_t kAheadBytes = 8192;
constexpr uint32 kAheadRows = 4;
// Tails of fewer rows for each dimension are compared by codes in the time that it takes to prepare the query for bits, and look at
// those: at 768 dimensions 4 µs, and 3 to 5 ns a row where codes take 10 to 21, in a near and in a far cache; at 128 dimensions
// 0.8 µs, and 0.8 to 0.9 ns where codes take 5 to 7 (bench/micro/one_bit_bench.cpp).
constexpr double kFewestSifted = 0.65;
// Codes that were not passed over are compared so many at a time, or more.
constexpr uint32 kTogether = 16;
// What a core asks memory for at once takes that much of a chunk's bits ahead.
constexpr std::size_t kBitsAheadBytes = 4096;
static_assert(shmem::kTailBitsRows == vec::kLookupRows && kBlock % vec::kLookupRows == 0,
              "blocks of bits are vec's");

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

bool FindCentre(SegmentScan* newest, TailSearch* search) {
  if (!vec::OneBitPays(newest->cached->head.codec)) return true;
  search->centre = CentreOfCodes(newest);
  return search->centre != nullptr;
}

void TailScan::Open(const TailSearch& search) {
  *this = TailScan{};
  search_ = search;
  context_ = CurrentMemoryContext;
  const vec::WalkCodec& codec = search.newest->head.codec;
  const uint32 dimensions = search.newest->head.header.dimensions;
  has_bits_ = vec::OneBitPays(codec);
  layout_ = shmem::LayOutTail(static_cast<uint32>(vec::WalkCodeBytes(codec.code, dimensions)),
                              has_bits_ ? static_cast<uint32>(vec::OneBitBytes(dimensions)) : 0);
  const uint64 tail_rows = search.rows - search.manifest->root.sealed_rows;
  const uint64 chunks = (tail_rows + layout_.per_chunk - 1) / layout_.per_chunk;
  chunks_ = static_cast<uint32>(Min(chunks, uint64{kMostChunks}));
  asks_ahead_ = static_cast<std::size_t>(chunks_) * shmem::kFrameBytes > kCacheBytes;
  covered_ = static_cast<uint32*>(palloc0(chunks_ * sizeof(uint32)));
  // A word more: blocks begin anywhere.
  const uint64 most_rows = static_cast<uint64>(chunks_) * layout_.per_chunk;
  taken_ = static_cast<uint64*>(palloc0((most_rows / kBlock + 2) * sizeof(uint64)));
  if (!has_bits_ || search.query == nullptr || pg::IsSwitchedOn("no-tail-bits") ||
      (static_cast<double>(tail_rows) < kFewestSifted * dimensions && !pg::IsSwitchedOn("always-tail-bits")))
    return;
  void* scratch = reinterpret_cast<void*>(
      TYPEALIGN(PG_CACHE_LINE_SIZE, palloc(vec::OneBitQuery::ScratchBytes(dimensions) + PG_CACHE_LINE_SIZE)));
  bits_query_ = vec::OneBitQuery(codec, search.centre, *search.query, scratch);
  bits_lie_ = pg::IsSwitchedOn("tail-bits-lie");
}

// ---- One pass ----

bool TailScan::Pass(float limit, policy::TopCandidates* top) {
  Offers offers = {limit, false, top};
  missing_count_ = 0;
  CompareShared(&offers);
  const pg::WallClock clock;
  const bool makes_all = pg::IsSwitchedOn("all-tail-codes");
  uint64 most = ~uint64{0};
  if (!decided_ && !makes_all) most = OthersMakeCodes() ? 0 : Max(MissingRows() / kMakeShare, kLeastMade);
  uint64 made = 0;
  for (uint32 i = 0; i < missing_count_; i++) {
    const Part part = missing_[i];
    if (!decided_) {
      const bool has_time = makes_all || clock.Milliseconds() <= kMakeMs;
      const uint64 room = has_time ? Min(most - made, uint64{layout_.per_chunk}) : 0;
      made += Decide(part, static_cast<uint32>(room), &offers);
    } else {
      MakeCodes(part);
      ComparePrivate(part, &offers);
    }
  }
  if (vectors_open_) storage::CloseRows(&vectors_);
  if (!decided_) FinishExact();
  if (!decided_) search_.newest->tail_coded += made;
  decided_ = true;
  return offers.left_out;
}

void TailScan::Take(const policy::Candidate* rows, std::size_t count) {
  for (std::size_t i = 0; i < count; i++) {
    const uint64 place = base::ToIndex(rows[i].row) - FirstRowOf(0);
    taken_[place / kBlock] |= uint64{1} << (place % kBlock);
  }
}

/// Finds out which codes this search goes by: those that it finds, or can make for others too, `most` of this part. Returns how many
/// it made.
uint32 TailScan::Decide(const Part& part, uint32 most, Offers* offers) {
  const uint64 first_row = FirstRowOf(part.chunk);
  const Part made = {part.chunk, part.first, Min(part.end, part.first + most)};
  if (most == 0 || (part.first == 0 && !MakeChunk(made))) {
    AddExact(first_row + part.first, first_row + part.end);
    return 0;
  }
  if (part.first > 0) ExtendChunk(made);
  covered_[part.chunk] = made.end;
  ComparePrivate(made, offers);
  if (made.end < part.end) AddExact(first_row + made.end, first_row + part.end);
  return made.end - made.first;
}

uint64 TailScan::MissingRows() const {
  uint64 rows = 0;
  for (uint32 i = 0; i < missing_count_; i++) rows += missing_[i].end - missing_[i].first;
  return rows;
}

/// True if somebody has added codes since this backend last looked, or a moment before: a worker that folds, or another session. Then a
/// few rows are left to them.
bool TailScan::OthersMakeCodes() {
  CachedSegment* newest = search_.newest;
  const uint64 coded = missing_count_ > 0 ? FirstRowOf(missing_[0].chunk) + missing_[0].first : search_.rows;
  const bool is_first_look = newest->tail_coded == 0;
  if (coded > newest->tail_coded) {
    newest->tail_coded = coded;
    if (!is_first_look) newest->tail_extended_at = GetCurrentTimestamp();
  }
  if (missing_count_ == 0 || newest->tail_extended_at == 0 || MissingRows() > kLeftToOthers) return false;
  return !TimestampDifferenceExceeds(newest->tail_extended_at, GetCurrentTimestamp(), kOthersMs);
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
    CompareWaiting(offers);
    shmem::LeaveFrames();
  }
  // Of a tail all is read.
  shmem::CountSearch(search_.newest->tail_place, {}, &search_.newest->tail_uses);
}

void TailScan::CompareChunk(const shmem::ChunkTable* table, uint32 chunk, Offers* offers) {
  const uint32 wanted = RowsWantedOf(chunk);
  const char* frame = table != nullptr ? table->Chunk(chunk) : nullptr;
  uint32 there = 0;
  if ((asks_ahead_ || bits_query_.is_usable()) && table != nullptr && chunk + 1 < chunks_) {
    const char* next = table->Chunk(chunk + 1);
    if (next != nullptr) graph::Prefetch(next, bits_query_.is_usable() ? kBitsAheadBytes : kAheadBytes);
  }
  if (frame != nullptr) {
    const shmem::TailChunk chunk_rows(frame, layout_);
    there = Min(chunk_rows.rows(), wanted);
    CodedRows rows = {FirstRowOf(chunk), chunk_rows.codes(), {}};
    if (has_bits_)
      rows.bits = {chunk_rows.bits(), chunk_rows.Factors(0), chunk_rows.Factors(1), chunk_rows.Factors(2)};
    Compare(
        rows, there, [&](uint32 word) { return chunk_rows.Marks(word); }, offers);
  }
  if (!decided_) covered_[chunk] = there;
  if (there < wanted) AddMissing({chunk, there, wanted});
}

void TailScan::ComparePrivate(const Part& part, Offers* offers) {
  CodedRows rows = {FirstRowOf(part.chunk) + part.first, made_rows_.codes, {}};
  if (has_bits_)
    rows.bits = {made_rows_.bits, made_rows_.factors[0], made_rows_.factors[1], made_rows_.factors[2]};
  Compare(
      rows, part.end - part.first, [this](uint32 word) { return made_rows_.marks[word]; }, offers);
  CompareWaiting(offers);
}

template <typename MarksOf>
void TailScan::Compare(const CodedRows& rows, uint32 count, const MarksOf& marks_of, Offers* offers) {
  for (uint32 first = 0; first < count; first += kBlock) {
    CodedRows block = {rows.first_row + first, rows.codes + static_cast<std::size_t>(first) * layout_.stride,
                       rows.bits};
    if (has_bits_) {
      block.bits.bits += shmem::PlaceOfBits(first, layout_.bit_bytes);
      block.bits.terms += first;
      block.bits.scales += first;
      block.bits.spreads += first;
    }
    CompareBlock(block, Min(kBlock, count - first), marks_of(first / kBlock), offers);
  }
}

void TailScan::CompareBlock(const CodedRows& rows, uint32 count, uint64 marks, Offers* offers) {
  const uint64 all = count < kBlock ? (uint64{1} << count) - 1 : ~uint64{0};
  // Bits behind the last row are of rows that others added meanwhile.
  marks &= all;
  if (!decided_) {
    coded_rows_ += count;
    for (uint64 left = marks; left != 0; left &= left - 1) {
      const uint64 row = rows.first_row + static_cast<uint64>(__builtin_ctzll(left));
      AddExact(row, row + 1);
      coded_rows_--;
    }
  }
  const uint64 wanted = all & ~marks & WithoutTaken(rows.first_row);
  if (bits_query_.is_usable()) {
    SiftBlock(rows, count, wanted, offers);
    return;
  }
  const std::uint8_t* code_of[kBlock] = {rows.codes};
  float keys[kBlock];
  for (uint32 i = 1; i < count; i++) code_of[i] = rows.codes + static_cast<std::size_t>(i) * layout_.stride;
  if (asks_ahead_)
    KeysAskingAhead(*search_.query, code_of, count, layout_.stride, keys);
  else
    search_.query->Keys(code_of, count, keys);
  compared_ += count;
  for (uint32 i = 0; i < count; i++)
    if ((wanted >> i & 1) != 0) Offer(rows.first_row + i, keys[i], offers);
}

/// Leaves out what bits say is beyond what is wanted; asks for the codes of the others, and compares them a block later.
void TailScan::SiftBlock(const CodedRows& rows, uint32 count, uint64 wanted, Offers* offers) {
  const double kept = policy::FromOrderedKey(offers->top->bound());
  // A key as large as the bound may still be kept, for its row; NaN: everything is.
  const float cut = kept < static_cast<double>(offers->limit) ? static_cast<float>(kept) : offers->limit;
  uint64 near = bits_query_.Within(rows.bits, count, cut);
  for (uint32 i = 0; i < count && unlikely(bits_lie_); i++)
    if ((rows.first_row + i) % 3 == 0) near &= ~(uint64{1} << i);
  near &= wanted;
  const auto near_count = static_cast<uint32>(__builtin_popcountll(near));
  // Codes that were asked for have come meanwhile. What they tell is too late for this block, or they would be waited for.
  Waiting& waiting = waiting_;
  if (waiting.count >= kTogether || waiting.count + near_count > kBlock) CompareWaiting(offers);
  for (uint64 left = near; left != 0; left &= left - 1) {
    const auto i = static_cast<uint32>(__builtin_ctzll(left));
    const std::uint8_t* code = rows.codes + static_cast<std::size_t>(i) * layout_.stride;
    graph::Prefetch(reinterpret_cast<const char*>(code), layout_.stride);
    waiting.rows[waiting.count] = rows.first_row + i;
    waiting.codes[waiting.count++] = code;
  }
  const auto wanted_count = static_cast<uint32>(__builtin_popcountll(wanted));
  passed_over_ += wanted_count - near_count;
  if (near_count < wanted_count) offers->left_out = true;
}

void TailScan::CompareWaiting(Offers* offers) {
  if (waiting_.count == 0) return;
  float keys[kBlock];
  search_.query->Keys(waiting_.codes, waiting_.count, keys);
  compared_ += waiting_.count;
  for (uint32 i = 0; i < waiting_.count; i++) Offer(waiting_.rows[i], keys[i], offers);
  waiting_.count = 0;
}

void TailScan::Offer(uint64 row, float key, Offers* offers) {
  if (key > offers->limit) {
    offers->left_out = true;
    return;
  }
  offers->top->Offer({policy::ToOrderedKey(static_cast<double>(key)), base::RowId{row}});
}

/// Bit i: row first_row + i was not taken.
uint64 TailScan::WithoutTaken(uint64 first_row) const {
  if (!decided_) return ~uint64{0};
  const uint64 place = first_row - FirstRowOf(0);
  const uint64* word = taken_ + place / kBlock;
  const auto shift = static_cast<uint32>(place % kBlock);
  const uint64 taken = shift == 0 ? *word : word[0] >> shift | word[1] << (kBlock - shift);
  return ~taken;
}

// ---- Making codes ----

bool TailScan::MakeMissing(TimestampTz until) {
  bool has_time = true;
  bool has_memory = true;
  for (uint32 chunk = 0; chunk < chunks_ && has_time && has_memory; chunk++) {
    CHECK_FOR_INTERRUPTS();
    shmem::EnterFrames();
    shmem::ChunkTable table;
    const char* frame = Attach(&table) ? table.Chunk(chunk) : nullptr;
    const uint32 there = frame != nullptr ? shmem::TailChunk(frame, layout_).rows() : 0;
    shmem::LeaveFrames();
    const Part part = {chunk, there, RowsWantedOf(chunk)};
    if (part.first >= part.end) continue;
    if (part.first > 0)
      ExtendChunk(part);
    else
      has_memory = MakeChunk(part);
    has_time = GetCurrentTimestamp() < until;
  }
  if (vectors_open_) storage::CloseRows(&vectors_);
  return has_memory && !has_time;
}

/// Makes a chunk with these rows for all; false, having done nothing, if no memory is to be had, or somebody else makes it.
bool TailScan::MakeChunk(const Part& part) {
  char* frame = shmem::BeginChunk(search_.newest->tail_place, part.chunk);
  if (frame == nullptr) return false;
  MakeCodes(part);
  const shmem::TailChunk chunk(frame, layout_);
  chunk.Init();
  chunk.Append(0, part.end, made_rows_);
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
  if (frame != nullptr) shmem::TailChunk(frame, layout_).Append(part.first, part.end, made_rows_);
  shmem::LeaveFrames();
}

/// Into made_rows_.
void TailScan::MakeCodes(const Part& part) {
  if (code8_ == nullptr) ReserveMadeRows();
  const uint32 count = part.end - part.first;
  std::fill_n(made_rows_.marks, shmem::TailMarkWords(count), uint64{0});
  for (uint32 i = 0; i < count; i++) {
    std::uint8_t* code = made_rows_.codes + static_cast<std::size_t>(i) * layout_.stride;
    if (!MakeCode(FirstRowOf(part.chunk) + part.first + i, code))
      made_rows_.marks[i / kBlock] |= uint64{1} << (i % kBlock);
    if (!has_bits_) continue;
    const vec::OneBitFactors factors =
        vec::MakeOneBit(search_.newest->head.codec, search_.centre, code, bits_scratch_,
                        made_rows_.bits + shmem::PlaceOfBits(i, layout_.bit_bytes));
    made_rows_.factors[0][i] = factors.term;
    made_rows_.factors[1][i] = factors.scale;
    made_rows_.factors[2][i] = factors.spread;
  }
  made_ += count;
}

void TailScan::ReserveMadeRows() {
  const MemoryContext old_context = MemoryContextSwitchTo(context_);
  const storage::DirectoryView* directory = search_.directory;
  storage::OpenRows(&vectors_, search_.index, directory, search_.manifest, storage::NewRowScratch(*directory),
                    nullptr);
  vectors_open_ = true;
  code8_ = static_cast<std::uint8_t*>(palloc(directory->dimensions));
  const Size rows = layout_.per_chunk;
  made_rows_.marks = static_cast<uint64*>(palloc(shmem::TailMarkWords(layout_.per_chunk) * sizeof(uint64)));
  made_rows_.codes = static_cast<std::uint8_t*>(palloc0(rows * layout_.stride));
  if (has_bits_) {
    const Size blocks_rows = shmem::InWholeBlocks(layout_.per_chunk);
    made_rows_.bits = static_cast<std::uint8_t*>(palloc(blocks_rows * layout_.bit_bytes));
    for (float*& run : made_rows_.factors) run = static_cast<float*>(palloc(rows * sizeof(float)));
    bits_scratch_ = static_cast<float*>(palloc(vec::OneBitScratch(search_.newest->head.header.dimensions)));
  }
  MemoryContextSwitchTo(old_context);
}

/// False if no code stands for the row well enough for the bounds of distances that WalkQuery gives.
bool TailScan::MakeCode(uint64 row, std::uint8_t* to) {
  const vec::WalkCodec& codec = search_.newest->head.codec;
  const float* vector = storage::ReadVector(&vectors_, row);
  if (unlikely(vector == nullptr) || !vec::IsCodable(codec.base.metric, vector, codec.base.dimensions)) {
    std::fill_n(to, layout_.stride, std::uint8_t{0});
    return false;
  }
  if (vec::IsMadeOfVectors(codec.code) || codec.code == vec::WalkCode::kBit) {
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
  pg::ReserveOneMore(context_, &missing_, missing_count_, &missing_room_);
  missing_[missing_count_++] = part;
}

void TailScan::AddExact(uint64 first, uint64 end) {
  if (exact_count_ > 0 && exact_[exact_count_ - 1].end == first) {
    exact_[exact_count_ - 1].end = end;
    return;
  }
  pg::ReserveOneMore(context_, &exact_, exact_count_, &exact_room_);
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
