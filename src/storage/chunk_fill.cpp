// Checking checksums is a sixth of the time that loading from shared_buffers takes; without it, a damaged page would be searched for as
// long as the server runs, and nobody could ever tell why.

#include "pg/compat.hpp"

#include "storage/chunk_fill.hpp"

namespace tandem::storage {

namespace {

/// Elements [first, end) of an array.
struct Elements {
  std::uint32_t first;
  std::uint32_t end;
};

Elements ElementsOf(const graph::ChunkArray& array, uint32 chunk) {
  const std::uint32_t first = (chunk - array.first_chunk) * array.per_chunk;
  return {first, first + Min(array.per_chunk, array.count - first)};
}

bool HasChunk(const graph::ChunkArray& array, uint32 chunk) {
  return array.count > 0 && chunk >= array.first_chunk &&
         chunk - array.first_chunk <= (array.count - 1) / array.per_chunk;
}

/// Arrays that pages have in the same form.
void CopyElements(ChunkFiller* filler, const graph::ChunkArray& array, uint32 chunk, uint64 section_at,
                  char* to) {
  const Elements elements = ElementsOf(array, chunk);
  const uint64 offset = section_at + uint64{elements.first} * array.element_bytes;
  BlobSource(&filler->blob)
      .Read(offset, std::size_t{elements.end - elements.first} * array.element_bytes, to);
}

/// Links as they are, and a walk code instead of the 8-bit code.
void MakeRecords(ChunkFiller* filler, uint32 chunk, char* to) {
  const SegmentHead& head = *filler->head;
  const graph::ChunkArray& array = head.layout.records;
  const std::size_t link_bytes = 2 * head.header.m * sizeof(std::uint32_t);
  const Elements nodes = ElementsOf(array, chunk);
  for (std::uint32_t node = nodes.first; node < nodes.end && !filler->blob.stale; node++) {
    const uint64 offset = head.header.records_at + uint64{node} * head.header.record_bytes;
    const char* from = ReadBlob(&filler->blob, offset, head.header.record_bytes, filler->record);
    std::memcpy(to, from, link_bytes);
    vec::MakeWalkCode(head.codec, reinterpret_cast<const std::uint8_t*>(from) + link_bytes,
                      reinterpret_cast<std::uint8_t*>(to) + link_bytes);
    to += array.element_bytes;
  }
}

}  // namespace

void OpenFiller(ChunkFiller* filler, Relation index, uint64 incarnation, const BlobRef& blob,
                const SegmentHead* head, BufferAccessStrategy strategy) {
  OpenBlob(&filler->blob, index, incarnation, blob, nullptr);
  filler->blob.strategy = strategy;
  filler->blob.checks_sums = true;
  filler->head = head;
  filler->record = static_cast<char*>(palloc(head->header.record_bytes));
}

bool FillChunk(ChunkFiller* filler, uint32 chunk, char* to) {
  const graph::SegmentHeader& header = filler->head->header;
  const graph::ChunkLayout& layout = filler->head->layout;
  if (HasChunk(layout.records, chunk))
    MakeRecords(filler, chunk, to);
  else if (HasChunk(layout.upper_nodes, chunk))
    CopyElements(filler, layout.upper_nodes, chunk, header.upper_nodes_at, to);
  else if (HasChunk(layout.upper_links, chunk))
    CopyElements(filler, layout.upper_links, chunk, header.upper_links_at, to);
  else if (HasChunk(layout.row_starts, chunk))
    CopyElements(filler, layout.row_starts, chunk, header.row_starts_at, to);
  else
    CopyElements(filler, layout.rows, chunk, header.rows_at, to);
  return !filler->blob.stale;
}

void CloseFiller(ChunkFiller* filler) {
  CloseBlob(&filler->blob);
  pfree(filler->record);
}

}  // namespace tandem::storage
