// Reading segments from pages. Content is believed no further than a search can check it: links are checked by the search,
// whatever else could lead out of the segment here.

#include "pg/compat.hpp"

#include "storage/segment_reader.hpp"

namespace tandem::storage {

void BlobSource::Read(std::uint64_t offset, std::size_t bytes, void* to) {
  auto* out = static_cast<char*>(to);
  while (bytes > 0) {
    CHECK_FOR_INTERRUPTS();
    const std::size_t to_page_end = kBlobPageBytes - offset % kBlobPageBytes;
    const auto part = static_cast<uint32>(Min(bytes, to_page_end));
    const char* from = ReadBlob(reader_, offset, part, out);
    if (from != out) std::memcpy(out, from, part);
    offset += part;
    out += part;
    bytes -= part;
  }
}

// ---- Heads ----

bool MayHaveCodec(const DirectoryView& directory, const graph::SegmentHeader& header) {
  return header.codec != static_cast<uint8>(vec::WalkCode::kBit) ||
         vec::AreWalkedOnBits(directory.element, directory.column_dimensions, vec::WalkWish::kAuto);
}

/// nullptr if nothing is wrong.
static const char* ProblemOfHeader(Relation index, const SegmentInfo& segment,
                                   const graph::SegmentHeader& header) {
  if (const char* problem = graph::ProblemOf(header); problem != nullptr) return problem;
  const DirectoryView& directory = GetIndexCache(index)->directory;
  if (header.bytes != segment.bytes || header.dimensions != directory.dimensions ||
      header.metric != static_cast<uint8>(directory.metric) || header.first_row != segment.first_row ||
      header.end_row != segment.end_row || !MayHaveCodec(directory, header))
    return "its header contradicts the index";
  return nullptr;
}

static bool ReadHeadFrom(Relation index, const SegmentInfo& segment, BlobReader* reader, SegmentHead* head) {
  BlobSource source(reader);
  graph::SegmentHeader& header = head->header;
  source.Read(0, sizeof header, &header);
  if (source.stale()) return false;
  if (const char* problem = ProblemOfHeader(index, segment, header); problem != nullptr) {
    WarnOfDamage(index, segment.id, problem);
    return false;
  }
  const std::size_t offset_bytes = graph::OffsetFloats(header) * sizeof(float);
  float* offsets = nullptr;
  if (offset_bytes > 0) {
    offsets = static_cast<float*>(palloc(offset_bytes));
    source.Read(header.offsets_at, offset_bytes, offsets);
  }
  const std::size_t level_bytes = graph::WalkFloats(header) * sizeof(float);
  float* levels = nullptr;
  if (level_bytes > 0) {
    levels = static_cast<float*>(palloc(level_bytes));
    source.Read(header.walk_at, level_bytes, levels);
  }
  head->codec = graph::WalkCodecOf(header, offsets, levels);
  const std::size_t walk_bytes = vec::WalkCodeBytes(head->codec.code, header.dimensions);
  head->layout = graph::LayOutChunks(header, static_cast<std::uint32_t>(walk_bytes));
  head->memory_bytes = sizeof(SegmentHead) + offset_bytes + level_bytes;
  return !source.stale();
}

bool ReadSegmentHead(Relation index, const Manifest& manifest, const SegmentInfo& segment,
                     SegmentHead* head) {
  BlobReader reader;
  OpenBlob(&reader, index, manifest.incarnation, manifest.BlobOf(segment), nullptr);
  // What is copied into shared memory, and which rows need not be looked at, depends on the codec.
  reader.checks_sums = true;
  const bool is_read = ReadHeadFrom(index, segment, &reader, head);
  CloseBlob(&reader);
  return is_read;
}

const graph::UpperNode* ReadUpperNodes(Relation index, const Manifest& manifest, const SegmentInfo& segment,
                                       const SegmentHead& head) {
  const std::size_t bytes = static_cast<std::size_t>(head.header.upper_nodes) * sizeof(graph::UpperNode);
  auto* nodes = static_cast<graph::UpperNode*>(palloc(bytes));
  BlobReader reader;
  OpenBlob(&reader, index, manifest.incarnation, manifest.BlobOf(segment), nullptr);
  reader.checks_sums = true;
  BlobSource(&reader).Read(head.header.upper_nodes_at, bytes, nodes);
  CloseBlob(&reader);
  if (!reader.stale) return nodes;
  pfree(nodes);
  return nullptr;
}

// ---- Damage ----

void WarnOfDamage(Relation index, uint32 segment, const char* problem) {
  if (!IsNews(index, segment, DamageKind::kGraph)) return;
  ereport(WARNING, (errcode(ERRCODE_INDEX_CORRUPTED),
                    errmsg("segment %u of index \"%s\" is damaged", segment, RelationGetRelationName(index)),
                    errdetail("Problem: %s. Its rows are found by an exact scan instead.", problem),
                    errhint("Rebuild the index with REINDEX.")));
}

// ---- Parts of a graph ----

RowReader* OpenSegmentRows(Relation index, const Manifest& manifest, const SegmentHead& head,
                           BufferAccessStrategy strategy) {
  const DirectoryView* view = CopyDirectory(DirectoryWith(index, head.header.end_row));
  auto* rows = static_cast<RowReader*>(palloc(sizeof(RowReader)));
  OpenRows(rows, index, view, &manifest, NewRowScratch(*view), strategy);
  return rows;
}

void PageSegmentReader::Open(Relation index, uint64 incarnation, const BlobRef& blob, const SegmentHead* head,
                             Buffer* recent, RowReader* rows, char* scratch) {
  OpenBlob(&blob_, index, incarnation, blob, recent);
  head_ = head;
  header_ = &head->header;
  rows_ = rows;
  scratch_ = scratch;
}

void PageSegmentReader::Release() {
  CloseBlob(&blob_);
  if (rows_ != nullptr) CloseRows(rows_);
}

/// From now on the caller is told that the graph is of no use; until it asks, it gets what does no harm.
void PageSegmentReader::MarkDamaged(const char* problem) {
  if (!blob_.stale) WarnOfDamage(blob_.index, blob_.blob.id, problem);
  blob_.stale = true;
}

static const std::uint32_t no_links[] = {graph::kEndOfLinks};

const std::uint32_t* PageSegmentReader::Links(std::uint32_t node) {
  const auto* links = At<std::uint32_t>(RecordOf(node), 2 * header_->m);
  return likely(!blob_.stale) ? links : no_links;
}

const std::uint8_t* PageSegmentReader::RecordCode(std::uint32_t node) {
  return At<std::uint8_t>(RecordOf(node) + 2 * header_->m * sizeof(std::uint32_t), header_->code_bytes);
}

/// nullptr if there are other rows at the node, or none, or the row is dead to everybody.
const float* PageSegmentReader::OnlyVector(std::uint32_t node) {
  const RowSpan span = RowsOf(node);
  if (span.end - span.first != 1) return nullptr;
  const base::RowId row = RowAt(span.first);
  return likely(!blob_.stale) ? ReadVector(rows_, base::ToIndex(row)) : nullptr;
}

const std::uint8_t* PageSegmentReader::Code(std::uint32_t node) {
  const vec::WalkCodec& codec = head_->codec;
  if (codec.code == vec::WalkCode::kSq8 || codec.code == vec::WalkCode::kBit) return RecordCode(node);
  // Behind the bytes that At() may have put there.
  auto* walk_code = reinterpret_cast<std::uint8_t*>(scratch_ + header_->record_bytes);
  const float* vector = vec::IsMadeOfVectors(codec.code) ? OnlyVector(node) : nullptr;
  if (vector != nullptr)
    vec::MakeWalkCode(codec, vector, walk_code);
  else
    vec::MakeWalkCode(codec, RecordCode(node), walk_code);
  return walk_code;
}

graph::UpperNode PageSegmentReader::Upper(std::uint32_t ordinal) {
  const graph::UpperNode upper =
      *At<graph::UpperNode>(header_->upper_nodes_at + std::uint64_t{ordinal} * sizeof(graph::UpperNode));
  if (likely(IsUpperNode(*header_, upper))) return upper;
  MarkDamaged("an upper node lies out of the graph");
  return {};
}

const std::uint32_t* PageSegmentReader::UpperLinks(std::uint32_t list) {
  if (unlikely(list >= header_->upper_lists)) {
    MarkDamaged("an upper node has links out of the graph");
    return no_links;
  }
  const std::uint64_t offset =
      header_->upper_links_at + std::uint64_t{list} * header_->m * sizeof(std::uint32_t);
  const auto* links = At<std::uint32_t>(offset, header_->m);
  return likely(!blob_.stale) ? links : no_links;
}

RowSpan PageSegmentReader::RowsOf(std::uint32_t node) {
  if (header_->row_starts_at == 0) return {node, node + 1};
  const auto* starts =
      At<std::uint32_t>(header_->row_starts_at + std::uint64_t{node} * sizeof(std::uint32_t), 2);
  const RowSpan span = {starts[0], starts[1]};
  if (likely(IsRowSpan(*header_, span))) return span;
  MarkDamaged("the rows of a node are not in order");
  return {0, 0};
}

base::RowId PageSegmentReader::RowAt(std::uint32_t ordinal) {
  const std::uint32_t row =
      *At<std::uint32_t>(header_->rows_at + std::uint64_t{ordinal} * sizeof(std::uint32_t));
  if (likely(IsRow(*header_, row))) return base::RowId{header_->first_row + row};
  MarkDamaged("a node has a row that is not the segment's");
  return base::RowId{header_->first_row};
}

/// Of a section of so many numbers, some from the `first` on.
base::Span<const std::uint32_t> PageSegmentReader::NumbersFrom(std::uint64_t section_at,
                                                               std::uint64_t numbers, std::uint32_t first) {
  const std::uint64_t offset = section_at + std::uint64_t{first} * sizeof(std::uint32_t);
  const auto on_page =
      static_cast<std::uint32_t>((kBlobPageBytes - offset % kBlobPageBytes) / sizeof(std::uint32_t));
  // No more than there is scratch memory for.
  const auto room = static_cast<std::uint32_t>(header_->record_bytes / sizeof(std::uint32_t));
  const auto left = static_cast<std::uint32_t>(numbers - first);
  const std::uint32_t count = Min(Min(on_page, room), left);
  return {At<std::uint32_t>(offset, count), count};
}

base::Span<const std::uint32_t> PageSegmentReader::RowsFrom(std::uint32_t ordinal) {
  return NumbersFrom(header_->rows_at, header_->rows, ordinal);
}

base::Span<const std::uint32_t> PageSegmentReader::RowStartsFrom(std::uint32_t node) {
  return NumbersFrom(header_->row_starts_at, std::uint64_t{header_->nodes} + 1, node);
}

}  // namespace tandem::storage
