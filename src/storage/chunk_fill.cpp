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

constexpr std::uint32_t kNoRow = ~std::uint32_t{0};

/// The row, as the row section has it, of each node that has exactly one; kNoRow for others.
void FindOnlyRows(ChunkFiller* filler, const Elements& nodes) {
  const graph::SegmentHeader& header = filler->head->header;
  const std::uint32_t count = nodes.end - nodes.first;
  BlobSource source(&filler->blob);
  if (header.row_starts_at == 0) {
    source.Read(header.rows_at + uint64{nodes.first} * sizeof(std::uint32_t), count * sizeof(std::uint32_t),
                filler->only_rows);
    return;
  }
  source.Read(header.row_starts_at + uint64{nodes.first} * sizeof(std::uint32_t),
              (count + 1) * sizeof(std::uint32_t), filler->row_starts);
  for (std::uint32_t i = 0; i < count; i++) {
    const RowSpan span = {filler->row_starts[i], filler->row_starts[i + 1]};
    filler->only_rows[i] = kNoRow;
    if (IsRowSpan(header, span) && span.end - span.first == 1)
      source.Read(header.rows_at + uint64{span.first} * sizeof(std::uint32_t), sizeof(std::uint32_t),
                  &filler->only_rows[i]);
  }
}

/// nullptr: as PageSegmentReader::Code() finds it, who also tells if the row is none of the segment's.
const float* VectorOf(ChunkFiller* filler, std::uint32_t row) {
  const graph::SegmentHeader& header = filler->head->header;
  return IsRow(header, row) ? ReadVector(filler->rows, header.first_row + row) : nullptr;
}

/// A node's links and its code, as pages have them; valid until the next call.
const char* RecordOf(ChunkFiller* filler, std::uint32_t node) {
  const graph::SegmentHeader& header = filler->head->header;
  const uint64 offset = header.records_at + uint64{node} * header.record_bytes;
  return ReadBlob(&filler->blob, offset, header.record_bytes, filler->record);
}

std::size_t LinkBytes(const ChunkFiller& filler) {
  return 2 * filler.head->header.m * sizeof(std::uint32_t);
}

void CopyLinks(ChunkFiller* filler, uint32 chunk, char* to) {
  const std::size_t bytes = LinkBytes(*filler);
  const Elements nodes = ElementsOf(filler->head->layout.links, chunk);
  for (std::uint32_t node = nodes.first; node < nodes.end && !filler->blob.stale; node++, to += bytes)
    std::memcpy(to, RecordOf(filler, node), bytes);
}

/// Walk codes, of the codes that records have. Of nodes whose vector is read, records are not.
void MakeCodes(ChunkFiller* filler, uint32 chunk, char* to) {
  const graph::ChunkArray& array = filler->head->layout.codes;
  const vec::WalkCodec& codec = filler->head->codec;
  const Elements nodes = ElementsOf(array, chunk);
  const bool is_of_vectors = filler->rows != nullptr;
  if (is_of_vectors) FindOnlyRows(filler, nodes);
  for (std::uint32_t node = nodes.first; node < nodes.end && !filler->blob.stale; node++) {
    auto* walk_code = reinterpret_cast<std::uint8_t*>(to);
    const float* vector = is_of_vectors ? VectorOf(filler, filler->only_rows[node - nodes.first]) : nullptr;
    if (vector != nullptr) {
      vec::MakeWalkCode(codec, vector, walk_code);
    } else {
      const char* code = RecordOf(filler, node) + LinkBytes(*filler);
      vec::MakeWalkCode(codec, reinterpret_cast<const std::uint8_t*>(code), walk_code);
    }
    to += array.element_bytes;
  }
}

}  // namespace

void OpenFiller(ChunkFiller* filler, Relation index, const Manifest& manifest, const BlobRef& blob,
                const SegmentHead* head, BufferAccessStrategy strategy) {
  filler->context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem chunk filler", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(filler->context);
  OpenBlob(&filler->blob, index, manifest.incarnation, blob, nullptr);
  filler->blob.strategy = strategy;
  filler->blob.checks_sums = true;
  filler->head = head;
  filler->record = static_cast<char*>(palloc(head->header.record_bytes));
  filler->rows = nullptr;
  if (vec::IsMadeOfVectors(head->codec.code)) {
    const std::size_t nodes = head->layout.codes.per_chunk;
    filler->rows = OpenSegmentRows(index, manifest, *head, strategy);
    filler->row_starts = static_cast<std::uint32_t*>(palloc((nodes + 1) * sizeof(std::uint32_t)));
    filler->only_rows = static_cast<std::uint32_t*>(palloc(nodes * sizeof(std::uint32_t)));
  }
  MemoryContextSwitchTo(old_context);
}

void ReadAhead(ChunkFiller* filler, uint32 first, uint32 end) {
  const graph::ChunkLayout& layout = filler->head->layout;
  const graph::SegmentHeader& header = filler->head->header;
  first = Max(first, layout.codes.first_chunk);
  if (first >= end) return;
  const graph::ChunkArray& array = HasChunk(layout.codes, first) ? layout.codes : layout.links;
  const bool is_of_vectors = filler->rows != nullptr && &array == &layout.codes;
  if (!HasChunk(array, first) || is_of_vectors) return;
  const std::uint64_t node = ElementsOf(array, first).first;
  const std::uint64_t node_end =
      Min(node + std::uint64_t{end - first} * array.per_chunk, std::uint64_t{array.count});
  SweepBlob(&filler->blob, header.records_at + node * header.record_bytes,
            header.records_at + node_end * header.record_bytes);
}

bool FillChunk(ChunkFiller* filler, uint32 chunk, char* to) {
  const graph::SegmentHeader& header = filler->head->header;
  const graph::ChunkLayout& layout = filler->head->layout;
  if (HasChunk(layout.codes, chunk))
    MakeCodes(filler, chunk, to);
  else if (HasChunk(layout.links, chunk))
    CopyLinks(filler, chunk, to);
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
  if (filler->rows != nullptr) CloseRows(filler->rows);
  MemoryContextDelete(filler->context);
}

}  // namespace tandem::storage
