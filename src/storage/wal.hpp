#pragma once
// Changing index pages: in place, in one critical section, in one WAL record.
//
// A record is a generic one (RM_GENERIC_ID): recovery and standbys replay it with the server's own code and
// never need this library. GenericXLogFinish() finds what changed by comparing two copies of each page, byte
// by byte over everything in use: 3 to 4 us for the two pages of a row. A row append knows what it changed,
// so the same record is written here directly from the changed ranges, for under 1 us
// (bench/results; docs/ARCHITECTURE.md "Write-ahead log"). The record's block data is what
// generic_redo() expects: { uint16 offset, uint16 length, bytes } repeated.

#include "storage/page_format.hpp"

extern "C" {
#include "storage/bufmgr.h"
}

namespace tandem::storage {

constexpr int kMaxPagesPerRecord = 4;  // MAX_GENERIC_XLOG_PAGES; checked in wal.cpp

/// Collects the changed ranges of up to kMaxPagesPerRecord locked pages and logs them as one record.
///
/// Use, with every buffer exclusively locked and nothing in between that can fail:
///   PageChanges changes(index);
///   START_CRIT_SECTION();
///   changes.AddPage(buffer, ImageMode::kDelta); … modify the page …; changes.Touch(i, offset, length);
///   changes.Log();
///   END_CRIT_SECTION();
/// Plain data without destructor: an error in between is a PANIC, as in all critical sections.
class PageChanges {
 public:
  enum class ImageMode : unsigned char {
    kDelta,      ///< log the touched ranges
    kFullImage,  ///< log the whole page: the first write to a page, whatever the file holds there
  };

  explicit PageChanges(Relation index) : index_(index) {}

  /// Returns the page's number in this record.
  int AddPage(Buffer buffer, ImageMode mode);

  /// Bytes [offset, offset + length) of page `number` changed. At most 4 ranges a page.
  void Touch(int number, uint32 offset, uint32 length);

  /// The page header's pd_lower changed.
  void TouchLower(int number) { Touch(number, offsetof(PageHeaderData, pd_lower), sizeof(LocationIndex)); }

  /// Marks the buffers dirty and, for relations that need it, writes the record and stamps the pages.
  void Log();

 private:
  static constexpr int kMaxRanges = 4;
  struct Range {
    uint16 offset;
    uint16 length;
  };
  struct ChangedPage {
    Buffer buffer;
    ImageMode mode;
    int ranges;
    Range range[kMaxRanges];
  };

  Relation index_;
  int pages_ = 0;
  ChangedPage page_[kMaxPagesPerRecord];
};

}  // namespace tandem::storage
