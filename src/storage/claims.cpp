#include "pg/compat.hpp"

#include "storage/claims.hpp"

namespace tandem::storage {

const char* NameOfOwner(BlockOwner owner) {
  switch (owner) {
    case BlockOwner::kNobody:
      return "nothing";
    case BlockOwner::kMeta:
      return "the meta page";
    case BlockOwner::kDirectory:
      return "a directory leaf";
    case BlockOwner::kHeads:
      return "an extent of row heads";
    case BlockOwner::kVectors:
      return "an extent of vectors";
    case BlockOwner::kNullHeads:
      return "an extent of row heads without vector";
    case BlockOwner::kManifest:
      return "an extent of the manifest";
    case BlockOwner::kSegment:
      return "an extent of a segment";
    case BlockOwner::kPacked:
      return "an extent of packed vectors";
    case BlockOwner::kRetired:
      return "an extent that waits to be recycled";
    case BlockOwner::kReserved:
      return "a free extent held for rows";
  }
  return "";
}

IndexLayout* ReadLayoutAnyway(Relation index, const char** problem) {
  auto* layout = static_cast<IndexLayout*>(palloc0(sizeof(IndexLayout)));
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    // The manifest can be recycled before it is read, on a standby: then there is a newer one.
    ReadMeta(index, &layout->meta);
    layout->manifest = LoadManifest(index, layout->meta.incarnation, layout->meta.root, problem);
    if (layout->manifest != nullptr || HasManifest(index, layout->meta.root)) break;
  }
  layout->directory = ReadDirectory(index, layout->meta);
  return layout;
}

IndexLayout* ReadLayout(Relation index) {
  const char* problem = nullptr;
  IndexLayout* layout = ReadLayoutAnyway(index, &problem);
  if (layout->manifest == nullptr) ReportDamagedManifest(index, problem);
  return layout;
}

static BlockOwner OwnerOfStream(Stream stream) {
  switch (stream) {
    case kHeadStream:
      return BlockOwner::kHeads;
    case kNullHeadStream:
      return BlockOwner::kNullHeads;
    case kVectorStream:
    case kElementStream:
      break;
  }
  return BlockOwner::kVectors;
}

static void VisitStream(const IndexLayout& layout, Stream stream, ClaimVisitor visit, void* state) {
  const StreamView& view = layout.directory->streams[stream];
  for (uint32 extent = 0; extent < view.extents; extent++) {
    const BlockNumber first = layout.directory->FirstBlockOf(stream, extent);
    if (first != InvalidBlockNumber) visit(state, OwnerOfStream(stream), first, PagesOfExtent(extent));
  }
  const uint32 in_leaves = view.extents - Min(view.extents, kInlineExtents);
  for (uint32 leaf = 0; leaf * kLeafExtents < in_leaves; leaf++)
    visit(state, BlockOwner::kDirectory, MapOf(layout.meta, stream)->leaf[leaf], 1);
}

static void VisitBlob(BlockOwner owner, const BlobRef& blob, ClaimVisitor visit, void* state) {
  const uint32 extents = ExtentsOfPages(PagesOfBlob(blob.bytes));
  for (uint32 extent = 0; extent < extents; extent++)
    visit(state, owner, blob.first_block[extent], PagesOfExtent(extent));
}

void VisitClaims(const IndexLayout& layout, ClaimVisitor visit, void* state) {
  visit(state, BlockOwner::kMeta, 0, 1);
  for (int s = 0; s < kStreams; s++) VisitStream(layout, static_cast<Stream>(s), visit, state);
  for (const BlankRun& run : layout.meta.blank_run)
    if (run.extents > 0) visit(state, BlockOwner::kReserved, run.first, run.extents * kExtentPages);
  if (layout.manifest == nullptr) return;
  const Manifest& manifest = *layout.manifest;
  if (manifest.root.version != 0) VisitBlob(BlockOwner::kManifest, manifest.OwnBlob(), visit, state);
  for (uint32 i = 0; i < manifest.segment_count; i++)
    VisitBlob(BlockOwner::kSegment, manifest.BlobOf(manifest.segments[i]), visit, state);
  for (uint32 i = 0; i < manifest.packed_count; i++)
    VisitBlob(BlockOwner::kPacked, manifest.BlobOf(manifest.packed[i]), visit, state);
  // Retired extents are the directory's until they are holes, and nobody's from then on: not the manifest's.
  for (uint32 i = 0; i < manifest.retired_count; i++)
    if (!IsExtents(manifest.retired[i]))
      VisitBlob(BlockOwner::kRetired, manifest.BlobOf(manifest.retired[i]), visit, state);
}

void CountClaims(const IndexLayout& layout, uint64* blocks) {
  for (int owner = 0; owner < kBlockOwners; owner++) blocks[owner] = 0;
  VisitClaims(
      layout,
      [](void* state, BlockOwner owner, BlockNumber /*first*/, uint32 count) {
        static_cast<uint64*>(state)[static_cast<int>(owner)] += count;
      },
      blocks);
  uint64 claimed = 0;
  for (int owner = 1; owner < kBlockOwners; owner++) claimed += blocks[owner];
  blocks[static_cast<int>(BlockOwner::kNobody)] =
      layout.meta.high_water - Min(claimed, layout.meta.high_water);
}

}  // namespace tandem::storage
