#pragma once
// Searching one segment: from shared memory what is there, from pages the rest; and what a backend remembers of it from one scan
// to the next.

#include "am/chunk_load.hpp"
#include "graph/graph_search.hpp"

namespace tandem::am {

class SegmentReader;
using SegmentSearch = graph::GraphSearch<SegmentReader>;

/// What a backend remembers of a segment between scans: what every search reads, where shared memory has it, and, if its pages are
/// read, which buffers held them. All of it are copies and hints.
struct CachedSegment {
  Oid file;  ///< relfilenode: a copy of it (SET TABLESPACE) may go on otherwise, and be rolled back
  uint64 incarnation;
  uint32 id;
  uint32 users;      ///< open SegmentScans: it stays while there are any
  uint64 last_used;  ///< larger is later
  MemoryContext context;
  CachedSegment* next;

  storage::SegmentHead head;
  bool uses_frames;
  bool is_damaged;                     ///< its pages were found not to be worth loading
  shmem::CachedSegmentRef place;       ///< in shared memory
  shmem::CachedSegmentRef tail_place;  ///< of codes of the rows that follow it (tail_scan.hpp)
  const float* centre;                 ///< CentreOfCodes(), once somebody asked for it
  shmem::UncountedUses uses;           ///< of the segment by this backend
  shmem::UncountedUses tail_uses;
  uint64 tail_coded;              ///< rows of the tail below it had codes, when this backend looked last
  TimestampTz tail_extended_at;   ///< when it last found that others had made some since
  const graph::UpperNode* upper;  ///< without shared memory, if they are not too many to keep
  Buffer* recent;         ///< one a page; nullptr before pages are read, and if they exceed shared_buffers
  std::size_t bytes;      ///< of all that, without `search`
  SegmentSearch* search;  ///< its memory serves one scan after the other
  bool search_lent;
};

/// The Reader of graph::GraphSearch. Plain data. Between Enter() and Leave(), which enclose every use, it is attached to what
/// shared memory has of the segment, and may hold one pin.
/// Contents are no more to be trusted than those of pages. Links are checked by the search, everything else here.
class SegmentReader {
 public:
  // Chunks that a search has missed and that are worth remembering: it loads no more than that afterwards.
  static constexpr std::uint32_t kMostMissed = 16;

  /// Everything named must outlive the reader, and what `manifest` points to, too. Rows are read under the manifest's snapshot.
  void Open(Relation index, const storage::Manifest& manifest, const storage::SegmentInfo& segment,
            CachedSegment* cached);

  /// After shmem::EnterFrames().
  void Enter();
  void Leave();

  [[nodiscard]] const std::uint32_t* LinkRecord(std::uint32_t node) {
    return reinterpret_cast<const std::uint32_t*>(InMemory(layout_->links, node));
  }
  [[nodiscard]] const std::uint8_t* CodeRecord(std::uint32_t node) {
    return reinterpret_cast<const std::uint8_t*>(InMemory(layout_->codes, node));
  }
  [[nodiscard]] const graph::UpperNode* UpperRecord(std::uint32_t ordinal);
  [[nodiscard]] const std::uint32_t* UpperList(std::uint32_t list);

  [[nodiscard]] const std::uint32_t* Links(std::uint32_t node) { return Pages().Links(node); }
  [[nodiscard]] const std::uint8_t* Code(std::uint32_t node) { return Pages().Code(node); }
  [[nodiscard]] graph::UpperNode Upper(std::uint32_t ordinal) { return Pages().Upper(ordinal); }
  [[nodiscard]] const std::uint32_t* UpperLinks(std::uint32_t list) { return Pages().UpperLinks(list); }

  /// Which rows are at a node, for RowAt().
  [[nodiscard]] storage::RowSpan RowsOf(std::uint32_t node);
  [[nodiscard]] base::RowId RowAt(std::uint32_t ordinal);
  /// The same row as its distance from the segment's first.
  [[nodiscard]] std::uint32_t RowOffsetAt(std::uint32_t ordinal) {
    return static_cast<std::uint32_t>(base::ToIndex(RowAt(ordinal)) - header_->first_row);
  }

  /// What rows the row section has from `ordinal` on, as far as they lie together, unchecked. Valid until the next call.
  [[nodiscard]] base::Span<const std::uint32_t> RowsFrom(std::uint32_t ordinal) {
    const base::Span<const std::uint32_t> rows = NumbersFrom(layout_->rows, ordinal);
    return rows.empty() ? Pages().RowsFrom(ordinal) : rows;
  }
  /// The same for where the rows of each node begin, from that of `node` on; behind the last node's is where they end. Where header() says
  /// that nodes have several.
  [[nodiscard]] base::Span<const std::uint32_t> RowStartsFrom(std::uint32_t node) {
    const base::Span<const std::uint32_t> starts = NumbersFrom(layout_->row_starts, node);
    return starts.empty() ? Pages().RowStartsFrom(node) : starts;
  }

  [[nodiscard]] const graph::SegmentHeader& header() const { return *header_; }
  /// Which buffers held the segment's pages, if that is worth remembering; else nullptr.
  [[nodiscard]] Buffer* RecentBuffers();

  /// Asks for what RowsOf() and, as a rule, RowAt() look at first: a hint.
  [[gnu::always_inline]] void AskForRows(std::uint32_t node) {
    const char* at = InMemory(header_->row_starts_at == 0 ? layout_->rows : layout_->row_starts, node);
    if (at != nullptr) __builtin_prefetch(at);
  }

  /// The segment was recycled, or is damaged: what was read since the last look may be worth nothing.
  [[nodiscard]] bool stale() const { return is_damaged_ || (pages_open_ && pages_.stale()); }

  /// True if nothing was missed that could be loaded.
  [[nodiscard]] bool is_complete() const { return missed_count_ == 0 || cached_->is_damaged; }
  /// Loads some of the chunks that were missed, until it is `until`; returns how many. Not between Enter() and Leave().
  [[nodiscard]] std::uint32_t LoadMissed(TimestampTz until);

 private:
  [[nodiscard]] const char* InMemory(const graph::ChunkArray& array, std::uint32_t element) {
    if (unlikely(!is_attached_)) return nullptr;
    const graph::ChunkPlace place = graph::PlaceOf(array, element);
    const char* chunk = table_.Chunk(place.chunk);
    if (likely(chunk != nullptr)) return chunk + place.offset;
    RememberMissed(place.chunk);
    return nullptr;
  }
  /// What a chunk in memory has of them from `first` on; empty if there is none.
  [[nodiscard]] base::Span<const std::uint32_t> NumbersFrom(const graph::ChunkArray& numbers,
                                                            std::uint32_t first) {
    const char* at = InMemory(numbers, first);
    if (at == nullptr) return {};
    const std::uint32_t left = numbers.per_chunk - first % numbers.per_chunk;
    return {reinterpret_cast<const std::uint32_t*>(at), Min(left, numbers.count - first)};
  }
  void RememberMissed(std::uint32_t chunk);
  [[nodiscard]] storage::PageSegmentReader& Pages() {
    if (unlikely(!pages_open_)) OpenPages();
    return pages_;
  }
  void OpenPages();
  void MarkDamaged(const char* problem);

  Relation index_;
  const storage::Manifest* manifest_;
  CachedSegment* cached_;
  const graph::SegmentHeader* header_;
  const graph::ChunkLayout* layout_;
  bool is_attached_;
  bool pages_open_;
  bool is_damaged_;  ///< what shared memory has of it led out of the segment
  std::uint32_t missed_count_;
  shmem::ChunkTable table_;
  std::uint32_t missed_[kMostMissed];
  storage::BlobRef blob_;
  storage::PageSegmentReader pages_;
  MemoryContext context_;  ///< of the scan
};

/// One segment being searched. Plain data in the scan's memory.
struct SegmentScan {
  CachedSegment* cached;
  SegmentSearch* search;
  graph::SearchCounters counted;  ///< of what `search` has done, what `cached->uses` has
  SegmentReader reader;
};

/// Opens a segment for searching in the current memory context, whose end (also by an error) gives back what was borrowed.
/// nullptr if it was recycled before anything of it could be read.
[[nodiscard]] SegmentScan* BeginSegmentScan(Relation index, const storage::Manifest& manifest,
                                            const storage::SegmentInfo& segment);

/// Between the two, these scans may be searched and their rows be asked for. LeaveSegments() also loads some of what was missed;
/// returns how many chunks. An error in between leaves by itself.
void EnterSegments(SegmentScan* const* scans, std::size_t count);
std::uint32_t LeaveSegments(SegmentScan* const* scans, std::size_t count);

/// About the middle of what the segment's codes of 8 or 4 bits stand for (vec::WalkValues()): `dimensions` floats, the same in every
/// process at any time. nullptr if the segment cannot be read. Not between EnterSegments() and LeaveSegments().
[[nodiscard]] const float* CentreOfCodes(SegmentScan* scan);

/// Lets the backend forget what it remembers of segments of this index that the manifest no longer lists.
void ForgetOtherSegments(const storage::Manifest& manifest);

}  // namespace tandem::am
