#pragma once
// The tail by code: rows that are in no segment yet, compared with a query by codes in shared memory, in those of the newest
// segment. What has no code there is left to an exact scan (ExactRows()).

#include "am/segment_scan.hpp"
#include "policy/top_candidates.hpp"
#include "shmem/tail_chunk.hpp"
#include "storage/flat_relation.hpp"
#include "storage/row_access.hpp"
#include "vec/one_bit.hpp"

namespace tandem::am {

/// What a search has that looks through a tail. Everything outlives the TailScan, as does the memory context of Open().
struct TailSearch {
  Relation index;
  const storage::Manifest* manifest;
  const storage::DirectoryView* directory;
  CachedSegment* newest;        ///< the last segment; the tail begins where it ends
  const vec::WalkQuery* query;  ///< prepared for it; nullptr: for MakeMissing() alone
  const float* centre;          ///< CentreOfCodes() of it, if its codes have bits
  uint64 rows;                  ///< row ids below it belong to the search
};

/// Fills in `centre`, if codes have bits. False if the segment has been recycled: nor can its graph be walked. newest: the scan of
/// search->newest.
[[nodiscard]] bool FindCentre(SegmentScan* newest, TailSearch* search);

/// One look at the tail for each pass. Which rows are compared by code is decided in the first one, for good; a chunk that
/// has gone later is made again, and gives the same keys. Plain data.
class TailScan {
 public:
  /// False if the newest segment's codes are of no use for the tail, or there is no shared memory.
  [[nodiscard]] static bool IsPossible(const TailSearch& search);

  void Open(const TailSearch& search);

  /// In place of Pass(): makes codes that are missing for all, until it is `until`. False when nothing is left to do, or no memory
  /// is to be had.
  [[nodiscard]] bool MakeMissing(TimestampTz until);

  /// Offers rows that were not taken yet, their codes' keys (vec::WalkQuery) in place of distances, except those beyond `limit`
  /// and, where bits tell, beyond what `top` keeps. Makes some of the codes that are missing. True if rows were left out.
  [[nodiscard]] bool Pass(float limit, policy::TopCandidates* top);

  /// Later passes do not offer these any more.
  void Take(const policy::Candidate* rows, std::size_t count);

  /// After the first pass: rows of the tail that Pass() never offers. Ascending.
  [[nodiscard]] base::Span<const storage::RowRange> ExactRows() const { return {exact_, exact_count_}; }

  [[nodiscard]] uint64 coded_rows() const { return coded_rows_; }  ///< that Pass() offers
  [[nodiscard]] uint64 compared() const { return compared_; }      ///< codes, by all passes
  [[nodiscard]] uint64 passed_over() const {
    return passed_over_;
  }                                                    ///< codes that bits told enough of, by all passes
  [[nodiscard]] uint64 made() const { return made_; }  ///< codes, for this search or for all

 private:
  /// Rows of a chunk, [first, end), counted from its first one.
  struct Part {
    uint32 chunk;
    uint32 first;
    uint32 end;
  };
  struct Offers {
    float limit;
    bool left_out;
    policy::TopCandidates* top;
  };

  [[nodiscard]] uint64 FirstRowOf(uint32 chunk) const {
    return search_.manifest->root.sealed_rows + static_cast<uint64>(chunk) * layout_.per_chunk;
  }
  [[nodiscard]] uint32 RowsWantedOf(uint32 chunk) const;
  [[nodiscard]] bool Attach(shmem::ChunkTable* table);
  void CompareShared(Offers* offers);
  void CompareChunk(const shmem::ChunkTable* table, uint32 chunk, Offers* offers);
  /// Codes and bits of rows that follow each other, wherever they lie.
  struct CodedRows {
    uint64 first_row;
    const std::uint8_t* codes;
    vec::OneBitRows bits;  ///< if the layout has them
  };
  /// Rows whose codes are asked for, to be compared when they are there.
  struct Waiting {
    uint32 count;
    uint64 rows[shmem::kTailMarksPerWord];
    const std::uint8_t* codes[shmem::kTailMarksPerWord];
  };
  template <typename MarksOf>
  void Compare(const CodedRows& rows, uint32 count, const MarksOf& marks_of, Offers* offers);
  void CompareBlock(const CodedRows& rows, uint32 count, uint64 marks, Offers* offers);
  void SiftBlock(const CodedRows& rows, uint32 count, uint64 wanted, Offers* offers);
  void CompareWaiting(Offers* offers);
  void Offer(uint64 row, float key, Offers* offers);
  [[nodiscard]] uint64 WithoutTaken(uint64 first_row) const;
  void ComparePrivate(const Part& part, Offers* offers);
  [[nodiscard]] uint32 Decide(const Part& part, uint32 most, Offers* offers);
  [[nodiscard]] uint64 MissingRows() const;
  [[nodiscard]] bool OthersMakeCodes();
  [[nodiscard]] bool MakeChunk(const Part& part);
  void ExtendChunk(const Part& part);
  void MakeCodes(const Part& part);
  void ReserveMadeRows();
  [[nodiscard]] bool MakeCode(uint64 row, std::uint8_t* to);
  void AddMissing(const Part& part);
  void AddExact(uint64 first, uint64 end);
  void FinishExact();

  TailSearch search_;
  MemoryContext context_;
  shmem::TailLayout layout_;
  uint32 chunks_;    ///< that have rows of the search
  uint32* covered_;  ///< for each chunk, how many of its rows are compared by code
  bool asks_ahead_;  ///< for codes in memory, since no cache holds all of them
  bool decided_;     ///< the first pass is over
  bool has_bits_;    ///< codes have bits
  vec::OneBitQuery bits_query_;
  bool bits_lie_;    ///< in a test: about every third row
  Waiting waiting_;  ///< none outside of the frames
  uint64* taken_;    ///< one bit for each row
  Part* missing_;    ///< of the running pass: what shared memory does not have
  uint32 missing_count_;
  uint32 missing_room_;
  storage::RowRange* exact_;
  uint32 exact_count_;
  uint32 exact_room_;
  storage::RowReader vectors_;
  bool vectors_open_;
  std::uint8_t* code8_;        ///< one
  shmem::TailRows made_rows_;  ///< a chunk's
  float* bits_scratch_;
  uint64 coded_rows_;
  uint64 compared_;
  uint64 passed_over_;
  uint64 made_;
};

}  // namespace tandem::am
