#include "pg/pg.hpp"

#include "storage/wal.hpp"

extern "C" {
#include "access/generic_xlog.h"
#include "access/rmgr.h"
#include "access/xloginsert.h"
}

namespace tandem::storage {

static_assert(kMaxPagesPerRecord == MAX_GENERIC_XLOG_PAGES, "generic_redo() takes no more pages");

int PageChanges::AddPage(Buffer buffer, ImageMode mode) {
  Assert(pages_ < kMaxPagesPerRecord);
  ChangedPage& page = page_[pages_];
  page.buffer = buffer;
  page.mode = mode;
  page.ranges = 0;
  return pages_++;
}

void PageChanges::Touch(int number, uint32 offset, uint32 length) {
  ChangedPage& page = page_[number];
  if (page.mode == ImageMode::kFullImage) return;
  Assert(page.ranges < kMaxRanges && offset + length <= BLCKSZ);
  page.range[page.ranges++] = {static_cast<uint16>(offset), static_cast<uint16>(length)};
}

void PageChanges::Log() {
  for (int i = 0; i < pages_; i++) MarkBufferDirty(page_[i].buffer);
  if (!RelationNeedsWAL(index_)) return;

  // Range headers and short ranges are copied here, long ranges are registered where they lie: a record has
  // room for 20 registered pieces (XLR_NORMAL_RDATAS) without allocating, which a critical section must not.
  constexpr uint32 kShortRange = 16;
  constexpr std::size_t kScratch = kMaxPagesPerRecord * kMaxRanges * (sizeof(Range) + kShortRange);
  char scratch[kScratch];
  std::size_t scratch_used = 0;

  XLogBeginInsert();
  for (int i = 0; i < pages_; i++) {
    const ChangedPage& changed = page_[i];
    const auto block_id = static_cast<uint8>(i);
    if (changed.mode == ImageMode::kFullImage) {
      XLogRegisterBuffer(block_id, changed.buffer, REGBUF_FORCE_IMAGE | REGBUF_STANDARD);
      continue;
    }
    XLogRegisterBuffer(block_id, changed.buffer, REGBUF_STANDARD);
    char* page = static_cast<char*>(BufferGetPage(changed.buffer));
    std::size_t piece_start = scratch_used;
    for (int r = 0; r < changed.ranges; r++) {
      const Range& range = changed.range[r];
      std::memcpy(scratch + scratch_used, &range, sizeof(Range));
      scratch_used += sizeof(Range);
      const bool is_short = range.length <= kShortRange;
      if (is_short) {
        std::memcpy(scratch + scratch_used, page + range.offset, range.length);
        scratch_used += range.length;
      }
      if (!is_short || r == changed.ranges - 1) {
        XLogRegisterBufData(block_id, scratch + piece_start, static_cast<uint32>(scratch_used - piece_start));
        piece_start = scratch_used;
      }
      if (!is_short) XLogRegisterBufData(block_id, page + range.offset, range.length);
    }
  }
  const XLogRecPtr lsn = XLogInsert(RM_GENERIC_ID, 0);
  for (int i = 0; i < pages_; i++) PageSetLSN(BufferGetPage(page_[i].buffer), lsn);
}

}  // namespace tandem::storage
