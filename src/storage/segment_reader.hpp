#pragma once
// Segments as index pages hold them: as a run of bytes for checks and folds, as a graph for searches.

#include "storage/manifest.hpp"

#include "base/span.hpp"
#include "graph/graph_search.hpp"
#include "graph/segment_layout.hpp"

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

class PageSegmentReader;
using PageGraphSearch = graph::GraphSearch<PageSegmentReader>;

/// What a backend remembers of a segment between scans: what every search reads, and which buffers held its pages. All of
/// it are copies and hints.
struct CachedSegment {
  uint64 incarnation;
  uint32 id;
  uint32 users;      ///< open SegmentScans: it stays while there are any
  uint64 last_used;  ///< larger is later
  std::size_t bytes;
  MemoryContext context;
  CachedSegment* next;

  graph::SegmentHeader header;
  const float* offsets;           ///< of the quantiser
  const graph::UpperNode* upper;  ///< nullptr if they are too many to keep
  Buffer* recent;                 ///< one a page; nullptr if shared_buffers could not hold them all
  PageGraphSearch* search;        ///< its memory serves one scan after the other
  bool search_lent;
};

/// The Reader of graph::GraphSearch over index pages. Plain data; holds at most one pin, until Release().
/// The search itself ignores links that lead out of the graph; rows that lie out of the segment are an ERROR.
class PageSegmentReader {
 public:
  /// scratch: record_bytes of the segment. Everything named must outlive the reader.
  void Open(Relation index, const Manifest& manifest, const SegmentInfo& segment, const CachedSegment* cached,
            char* scratch);

  // Nothing is in memory yet.
  [[nodiscard]] static const char* Record(std::uint32_t /*node*/) { return nullptr; }
  [[nodiscard]] static const graph::UpperNode* UpperRecord(std::uint32_t /*ordinal*/) { return nullptr; }
  [[nodiscard]] static const std::uint32_t* UpperList(std::uint32_t /*list*/) { return nullptr; }

  [[nodiscard]] const std::uint32_t* Links(std::uint32_t node);
  [[nodiscard]] const std::uint8_t* Code(std::uint32_t node);
  [[nodiscard]] graph::UpperNode Upper(std::uint32_t ordinal);
  [[nodiscard]] const std::uint32_t* UpperLinks(std::uint32_t list);

  /// Which rows are at a node: [first, end) of the row section, for RowAt().
  struct RowSpan {
    std::uint32_t first;
    std::uint32_t end;
  };
  [[nodiscard]] RowSpan RowsOf(std::uint32_t node);
  [[nodiscard]] base::RowId RowAt(std::uint32_t ordinal);

  /// The segment was recycled, or is damaged: what was read since the last look may be worth nothing.
  [[nodiscard]] bool stale() const { return blob_.stale; }
  /// Lets go of the page; the reader can be used again.
  void Release() { CloseBlob(&blob_); }

 private:
  [[nodiscard]] std::uint64_t RecordOf(std::uint32_t node) const {
    return header_->records_at + static_cast<std::uint64_t>(node) * header_->record_bytes;
  }
  template <typename T>
  [[nodiscard]] const T* At(std::uint64_t offset, std::uint32_t count = 1) {
    return reinterpret_cast<const T*>(
        ReadBlob(&blob_, offset, count * static_cast<std::uint32_t>(sizeof(T)), scratch_));
  }
  BlobReader blob_;
  const CachedSegment* cached_;
  const graph::SegmentHeader* header_;
  char* scratch_;
};

/// One segment being searched. Plain data in the scan's memory.
struct SegmentScan {
  CachedSegment* cached;
  PageGraphSearch* search;
  PageSegmentReader reader;
};

/// Opens a segment for searching in the current memory context, whose end (also by an error) gives back what was borrowed.
/// nullptr if it was recycled before anything of it could be read.
[[nodiscard]] SegmentScan* BeginSegmentScan(Relation index, const Manifest& manifest,
                                            const SegmentInfo& segment);

/// Lets the backend forget what it remembers of segments of this index that the manifest no longer lists.
void ForgetOtherSegments(const Manifest& manifest);

}  // namespace tandem::storage
