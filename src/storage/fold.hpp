#pragma once
// Folding: rows of the flat relation, and perhaps a segment's graph, become one new segment. The way of a build in pages and
// records; graph/ computes, policy/ has decided what.
//
// A job goes on in steps, so that its caller can let go of the relation in between: a background worker holds no lock,
// no transaction and no snapshot while threads compute; a session simply loops.
//
//   kCounting ─► kSampling ─► kReadingRows ─► kBuilding ─► kWriting ─► kPublishing ─► kDone
//           └► kLoadingGraph ─┘    a base that cannot be loaded: back to kSampling, without it
//
//   kCounting       row heads tell how many rows are alive, and where the part of the tail ends that is to be folded
//   kSampling       vectors of random rows train the quantiser, on a build thread if there are any
//   kLoadingGraph   instead: the graph of a segment is taken over with its quantiser, then its rows that are alive
//   kReadingRows    all other rows that are alive are handed to the build threads, or computed on by the step itself
//   kBuilding       the threads are waited for, the segment is laid out in memory
//   kWriting        its pages are written over free blocks; nobody knows them yet
//   kPublishing     one record makes it visible and retires what it replaces
//
// What keeps a job right although it holds no lock between steps: the builder lock, under which alone segments change; the
// incarnation and the manifest's version, looked at again by every step; and the flat relation itself, whose counted rows
// never change but for their tombstones. A row that dies while its segment is built is one more dead row of that segment.
//
// Memory: one context per job. The builder, which allocates its graph outside of contexts, lives in a child of it and goes with it, by
// error, end of transaction or EndFold(); a process that exits in mid-build stops the threads before shared memory goes.

#include "storage/manifest.hpp"

#include "graph/graph_builder.hpp"
#include "policy/fold_policy.hpp"

namespace tandem::storage {

struct FoldOptions {
  uint32 m;
  uint32 ef_construction;
  vec::WalkWish
      codec;  ///< kSq4 is kSq8 where the metric has no 4-bit codes; kAuto is the bits where rows are of them
  unsigned threads;  ///< 0: steps compute by themselves
  int nice;
  uint64 build_memory_bytes;
  uint64 tail_bound;  ///< fold no row id from here on; ~0: none
};

struct FoldJob;

enum class FoldPhase : uint32 {
  kCounting,
  kSampling,
  kLoadingGraph,
  kReadingRows,
  kBuilding,
  kWriting,
  kPublishing,
  kDone
};

enum class FoldStep {
  kContinue,   ///< call again
  kWait,       ///< threads are busy: call again in 10 ms or so
  kPublished,  ///< done; the segment is visible
  kAbandoned,  ///< the index is not what it was when the job began (rebuilt, or another builder published)
};

struct FoldProgress {
  FoldPhase phase;
  uint64 rows_done;   ///< rows in the graph, those of the base included
  uint64 rows_total;  ///< live rows that the segment is made of, as far as they are counted
};

/// What PlanFold() wants to know, counted from the row heads and the manifest. Builder lock required, so that it stays true.
struct FoldSurvey {
  Manifest* manifest;
  policy::SegmentWeight* segments;
  uint32 segment_count;
  uint64 tail_rows;  ///< live rows past the sealed ones
  uint64 row_bound;  ///< row ids below this exist
  uint32 dimensions;
  uint32 column_dimensions;
  vec::Metric metric;
  vec::Element element;
};
struct SurveyJob;
/// In the current memory context. count_dead: all row heads will be read (8 bytes a row); else dead = 0 and tail_rows counts dead
/// ones too.
[[nodiscard]] SurveyJob* BeginSurvey(Relation index, bool count_dead);

enum class SurveyStep {
  kContinue,   ///< call again
  kDone,       ///< see SurveyOf()
  kAbandoned,  ///< the index was rebuilt
};
/// Reads heads for at most about `budget_ms`. AccessShareLock must be held on `index`, which may be a new opening of the same index.
[[nodiscard]] SurveyStep StepSurvey(SurveyJob* job, Relation index, int budget_ms);
/// The job's memory.
[[nodiscard]] const FoldSurvey& SurveyOf(const SurveyJob* job);

/// Rows of the surveyed index that a build within options.build_memory_bytes takes.
[[nodiscard]] uint64 RowsThatFit(const FoldSurvey& survey, const FoldOptions& options);

/// The job's memory is a child of `parent`; deleting it, or EndFold(), stops the threads. Builder lock required until then.
/// The survey is not needed afterwards.
[[nodiscard]] FoldJob* BeginFold(MemoryContext parent, Relation index, const FoldSurvey& survey,
                                 const policy::FoldPlan& plan, const FoldOptions& options);
/// Does at most about `budget_ms` of work on pages. Locks AccessShare (RowExclusive when it writes) must be held on `index`, which may be a new
/// opening of the same index. An ERROR leaves the job to be ended; nothing is half-published.
[[nodiscard]] FoldStep StepFold(FoldJob* job, Relation index, int budget_ms);
[[nodiscard]] FoldProgress ProgressOf(const FoldJob* job);
/// Reads no more rows: the segment ends where reading has come, and becomes visible that much sooner. False, with nothing
/// changed, if it cannot: rows of segments that it replaces are not read yet, or not one row is.
[[nodiscard]] bool CutFold(FoldJob* job);
/// What policy::IsWorthCutting() asks, in row ids; read_rows = 0 while the tail is not being read. arrived_rows is the caller's.
[[nodiscard]] policy::FoldReading ReadingOf(const FoldJob* job);
/// In kPublishing: what the manifest will say of the new segment, which is the only one that it lists, in the current memory context.
/// For who holds the builder lock, and readers of nothing but that segment and rows. nullptr if the job is going to be abandoned.
[[nodiscard]] Manifest* PreviewOf(const FoldJob* job, Relation index);
/// Row ids below this are sealed once the job is published.
[[nodiscard]] uint64 SealedAfter(const FoldJob* job);
void EndFold(FoldJob* job);

/// Drops what was retired and nobody needs any more; false if there is nothing. Builder lock required.
bool RecycleRetired(Relation index);

/// Retires every segment: the way to strategy flat. Builder lock required.
void RetireSegments(Relation index);

}  // namespace tandem::storage
