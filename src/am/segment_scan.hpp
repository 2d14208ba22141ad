#pragma once
// Searching one segment: how a backend reads it, and what it remembers of it from one scan to the next.

#include "storage/segment_reader.hpp"

#include "graph/graph_search.hpp"

namespace tandem::am {

class SegmentReader;
using SegmentSearch = graph::GraphSearch<SegmentReader>;

/// What a backend remembers of a segment between scans: what every search reads, and which buffers held its pages. All of
/// it are copies and hints.
struct CachedSegment {
  uint64 incarnation;
  uint32 id;
  uint32 users;      ///< open SegmentScans: it stays while there are any
  uint64 last_used;  ///< larger is later
  MemoryContext context;
  CachedSegment* next;

  storage::SegmentHead head;
  const graph::UpperNode* upper;  ///< nullptr if they are too many to keep
  Buffer* recent;                 ///< one a page; nullptr if shared_buffers could not hold them all
  std::size_t bytes;              ///< of all that, without `search`
  SegmentSearch* search;          ///< its memory serves one scan after the other
  bool search_lent;
};

/// The Reader of graph::GraphSearch. Plain data; holds at most one pin, until Release().
class SegmentReader {
 public:
  /// Everything named must outlive the reader. Scratch memory comes from the current memory context.
  void Open(Relation index, const storage::Manifest& manifest, const storage::SegmentInfo& segment,
            const CachedSegment* cached);

  // Nothing is in memory yet.
  [[nodiscard]] static const char* Record(std::uint32_t /*node*/) { return nullptr; }
  [[nodiscard]] static const graph::UpperNode* UpperRecord(std::uint32_t /*ordinal*/) { return nullptr; }
  [[nodiscard]] static const std::uint32_t* UpperList(std::uint32_t /*list*/) { return nullptr; }

  [[nodiscard]] const std::uint32_t* Links(std::uint32_t node) { return pages_.Links(node); }
  [[nodiscard]] const std::uint8_t* Code(std::uint32_t node) { return pages_.Code(node); }
  [[nodiscard]] graph::UpperNode Upper(std::uint32_t ordinal);
  [[nodiscard]] const std::uint32_t* UpperLinks(std::uint32_t list) { return pages_.UpperLinks(list); }

  /// Which rows are at a node, for RowAt().
  [[nodiscard]] storage::RowSpan RowsOf(std::uint32_t node) { return pages_.RowsOf(node); }
  [[nodiscard]] base::RowId RowAt(std::uint32_t ordinal) { return pages_.RowAt(ordinal); }

  /// The segment was recycled, or is damaged: what was read since the last look may be worth nothing.
  [[nodiscard]] bool stale() const { return pages_.stale(); }
  /// Lets go of the page; the reader can be used again.
  void Release() { pages_.Release(); }

 private:
  Relation index_;
  const CachedSegment* cached_;
  storage::PageSegmentReader pages_;
};

/// One segment being searched. Plain data in the scan's memory.
struct SegmentScan {
  CachedSegment* cached;
  SegmentSearch* search;
  SegmentReader reader;
};

/// Opens a segment for searching in the current memory context, whose end (also by an error) gives back what was borrowed.
/// nullptr if it was recycled before anything of it could be read.
[[nodiscard]] SegmentScan* BeginSegmentScan(Relation index, const storage::Manifest& manifest,
                                            const storage::SegmentInfo& segment);

/// Lets the backend forget what it remembers of segments of this index that the manifest no longer lists.
void ForgetOtherSegments(const storage::Manifest& manifest);

}  // namespace tandem::am
