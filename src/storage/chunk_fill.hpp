#pragma once
// Chunks of a segment (graph/chunk_layout.hpp), made from its pages.

#include "storage/segment_reader.hpp"

#include "graph/chunk_layout.hpp"

namespace tandem::storage {

/// Makes chunks of one segment. Plain data; holds at most one pin, until CloseFiller().
struct ChunkFiller {
  BlobReader blob;
  const SegmentHead* head;
  char* record;  ///< one, as pages have it
};

/// Scratch memory comes from the current memory context. `head` and what `blob` points to must outlive the filler.
/// strategy: for reading pages; may be nullptr.
void OpenFiller(ChunkFiller* filler, Relation index, uint64 incarnation, const BlobRef& blob,
                const SegmentHead* head, BufferAccessStrategy strategy);

/// Writes chunk number `chunk` of `head->layout` to `to`, graph::kChunkBytes. Reads pages in their order and checks each page's
/// checksum and for interrupts; leaves by longjmp like any server function. False: the segment was recycled, or is damaged, as a
/// WARNING says then; nothing in `to` is worth anything, now or later.
/// Contents are copied as they are: whoever uses them checks them, as if they came from a page.
[[nodiscard]] bool FillChunk(ChunkFiller* filler, uint32 chunk, char* to);

/// Frees the scratch memory, too.
void CloseFiller(ChunkFiller* filler);

}  // namespace tandem::storage
