#pragma once
// Segments as index pages hold them: as a run of bytes for checks and folds, as a graph for searches.

#include "storage/row_access.hpp"

#include "base/span.hpp"
#include "graph/chunk_layout.hpp"
#include "vec/walk_query.hpp"

namespace tandem::storage {

/// A segment's bytes. Reads page by page and checks for interrupts at each; leaves by longjmp like any server function.
/// `reader` is the caller's, who also closes it. A stale one delivers zeros: ask stale() before believing what was read.
// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): nobody derives from it, nor deletes it through its base
class BlobSource final : public graph::SegmentSource {
 public:
  explicit BlobSource(BlobReader* reader) noexcept : reader_(reader) {}
  void Read(std::uint64_t offset, std::size_t bytes, void* to) override;
  [[nodiscard]] bool stale() const noexcept { return reader_->stale; }

 private:
  BlobReader* reader_;
};

/// What must be known of a segment to read it. The arrays live in the memory context in which it was read.
struct SegmentHead {
  graph::SegmentHeader header;
  vec::WalkCodec codec;
  graph::ChunkLayout layout;
  std::size_t memory_bytes;
};

/// Reads it in the current memory context. False if the segment was recycled, or contradicts itself or the index, of which it warns.
[[nodiscard]] bool ReadSegmentHead(Relation index, const Manifest& manifest, const SegmentInfo& segment,
                                   SegmentHead* head);

/// A copy of all upper nodes in the current memory context; nullptr if the segment was recycled. They are not checked.
[[nodiscard]] const graph::UpperNode* ReadUpperNodes(Relation index, const Manifest& manifest,
                                                     const SegmentInfo& segment, const SegmentHead& head);

/// False if the segment's codes are bits, and the index's rows are not.
[[nodiscard]] bool MayHaveCodec(const DirectoryView& directory, const graph::SegmentHeader& header);

/// Which rows are at a node: [first, end) of the row section.
struct RowSpan {
  std::uint32_t first;
  std::uint32_t end;
};

// Whoever reads these parts, from wherever, checks them before use. If they lead out of the segment, it is damaged: the graph is of
// no use, and its rows are found by an exact scan.

/// Tells it, once in a session for each segment.
void WarnOfDamage(Relation index, uint32 segment, const char* problem);

[[nodiscard]] inline bool IsUpperNode(const graph::SegmentHeader& header, const graph::UpperNode& upper) {
  return upper.node < header.nodes && upper.first_list <= header.upper_lists &&
         upper.level <= header.upper_lists - upper.first_list;
}
[[nodiscard]] inline bool IsRowSpan(const graph::SegmentHeader& header, const RowSpan& span) {
  return span.first <= span.end && span.end <= header.rows;
}
/// row: as the row section has it.
[[nodiscard]] inline bool IsRow(const graph::SegmentHeader& header, std::uint32_t row) {
  return row < header.end_row - header.first_row;
}

/// Room for a record and, behind it, a walk code made of it.
[[nodiscard]] inline std::size_t ScratchBytesOf(const SegmentHead& head) {
  return head.header.record_bytes + vec::WalkCodeBytes(head.codec.code, head.header.dimensions);
}

/// For walk codes that are made of vectors: ready to read those of a segment's rows, in the current memory context. manifest: as
/// for OpenRows(). strategy: may be nullptr.
[[nodiscard]] RowReader* OpenSegmentRows(Relation index, const Manifest& manifest, const SegmentHead& head,
                                         BufferAccessStrategy strategy);

/// The parts of a graph, from index pages. Plain data; holds at most one pin, and `rows` others, until Release(). What is returned
/// by pointer stays valid until the next call. Lists of links are as they are: the search checks them.
class PageSegmentReader {
 public:
  /// scratch: ScratchBytesOf(head), aligned to 4. recent: as for OpenBlob(). rows: OpenSegmentRows(), if walk codes are made of
  /// vectors. Everything named must outlive the reader.
  void Open(Relation index, uint64 incarnation, const BlobRef& blob, const SegmentHead* head, Buffer* recent,
            RowReader* rows, char* scratch);

  [[nodiscard]] const std::uint32_t* Links(std::uint32_t node);
  [[nodiscard]] const std::uint8_t* Code(std::uint32_t node);
  [[nodiscard]] graph::UpperNode Upper(std::uint32_t ordinal);
  [[nodiscard]] const std::uint32_t* UpperLinks(std::uint32_t list);
  [[nodiscard]] RowSpan RowsOf(std::uint32_t node);
  [[nodiscard]] base::RowId RowAt(std::uint32_t ordinal);
  /// What the row section has from `ordinal` on, some of it, unchecked.
  [[nodiscard]] base::Span<const std::uint32_t> RowsFrom(std::uint32_t ordinal);
  /// Where rows of nodes begin, from that of `node` on, to where the last one's end; likewise. Where nodes share rows.
  [[nodiscard]] base::Span<const std::uint32_t> RowStartsFrom(std::uint32_t node);

  /// The segment was recycled, or is damaged: what was read since the last look may be worth nothing.
  [[nodiscard]] bool stale() const { return blob_.stale; }
  /// Lets go of pages; the reader can be used again.
  void Release();

 private:
  [[nodiscard]] base::Span<const std::uint32_t> NumbersFrom(std::uint64_t section_at, std::uint64_t numbers,
                                                            std::uint32_t first);
  [[nodiscard]] std::uint64_t RecordOf(std::uint32_t node) const {
    return header_->records_at + static_cast<std::uint64_t>(node) * header_->record_bytes;
  }
  void MarkDamaged(const char* problem);
  [[nodiscard]] const std::uint8_t* RecordCode(std::uint32_t node);
  [[nodiscard]] const float* OnlyVector(std::uint32_t node);
  template <typename T>
  [[nodiscard]] const T* At(std::uint64_t offset, std::uint32_t count = 1) {
    return reinterpret_cast<const T*>(
        ReadBlob(&blob_, offset, count * static_cast<std::uint32_t>(sizeof(T)), scratch_));
  }
  BlobReader blob_;
  const SegmentHead* head_;
  const graph::SegmentHeader* header_;  ///< its
  RowReader* rows_;
  char* scratch_;
};

}  // namespace tandem::storage
