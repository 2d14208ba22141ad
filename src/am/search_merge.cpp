// Merging the sources of a search: the one with the nearest candidate delivers it, re-ranked when the merge cannot go on without
// that. All that is done for each candidate is here, or inline.

#include "pg/compat.hpp"

#include "am/search_state.hpp"

#include <algorithm>
#include <cmath>

extern "C" {
#include "utils/float.h"
}

namespace tandem::am {

/// The distance of the stream's next row is known, which comes among the others of which it is.
static void AddReady(const Search& search, GraphStream* stream, policy::Candidate candidate) {
  stream->batch[stream->ready++] = candidate;
  std::push_heap(stream->batch, stream->batch + stream->ready, policy::IsFarther);
  storage::PrefetchRowHead(search.index, base::ToIndex(candidate.row));
}

/// Computes the true distance of the stream's next row. Dead rows are dropped when they are returned, like all others:
/// looking at heads before it is known whose are wanted would cost more than some distances for nothing.
static void ReRankNext(Search* search, GraphStream* stream) {
  if (stream->is_exact) {
    AddReady(*search, stream, stream->batch[stream->rough++]);
    return;
  }
  // Vectors lie anywhere: several are on their way while one is compared.
  const std::size_t ahead = Min(stream->rough + search->vectors_ahead, stream->batch_size);
  for (stream->asked = Max(stream->asked, stream->rough); stream->asked < ahead; stream->asked++)
    storage::PrefetchRow(search->vectors, base::ToIndex(stream->batch[stream->asked].row));
  const base::RowId row = stream->batch[stream->rough++].row;
  const void* vector = storage::ReadRow(&search->vectors, base::ToIndex(row));
  if (unlikely(vector == nullptr)) return;  // dead to everybody
  const double key = storage::ViewOf(search->flat).distance->Key(vector);
  search->report.re_ranked++;
  // NaN sorts behind all rows of all sources: only an exact scan knows where that is. The tail's rows all come anyway.
  if (unlikely(std::isnan(key)) && stream->tail == nullptr) {
    if (search->filtered != nullptr) KeepUnordered(search, row);
    return;
  }
  AddReady(*search, stream, {policy::ToOrderedKey(key), row});
}

/// True if pools had room for all that is known to be wanted, and there was no more yet.
static bool IsAsExpected(const Search& search) {
  const double wanted = search.unfiltered.rows;
  return wanted > 0 && wanted <= search.ef && static_cast<double>(search.delivered) < wanted &&
         !LiesFartherOff(search);
}

/// True if the stream's next batch should be there before it delivers more: before it is used up, where that is not all that was wanted.
static bool IsDue(const Search& search, const GraphStream& stream) {
  if (stream.ended) return false;
  const std::size_t left = stream.Left();
  if (likely(left > stream.found / policy::kHeldBack)) return false;
  // What a filtered walk has left would not outlast its next batch.
  return left == 0 || (stream.filtered == nullptr && !IsAsExpected(search));
}

/// Gives every stream that is due its next batch. False: the search is exact from here on.
static bool RefillStreams(Search* search) {
  if (search->stream_count > 0 && unlikely(!search->streams[0].started) && !StartStreams(search))
    return false;
  for (uint32 i = 0; i < search->stream_count; i++) {
    GraphStream* stream = &search->streams[i];
    while (IsDue(*search, *stream))
      if (!RefillStream(search, stream)) return false;
  }
  return true;
}

/// The nearest row whose distance is known, and the stream it is from: nullptr if that is the exact scan. False if there is none.
static bool FindNearest(const Search& search, policy::Candidate* nearest, GraphStream** from) {
  *from = nullptr;
  bool found = search.filtered != nullptr ? PeekSetCandidate(&search.filtered->scan, nearest)
                                          : storage::PeekFlatCandidate(search.flat, nearest);
  for (uint32 i = 0; i < SourceCount(search); i++) {
    GraphStream* stream = &search.streams[i];
    if (stream->ready == 0 || (found && !(stream->batch[0] < *nearest))) continue;
    *nearest = stream->batch[0];
    *from = stream;
    found = true;
  }
  return found;
}

/// The stream whose next row by code may be the nearest of all; nullptr if all are re-ranked.
static GraphStream* FindNearestRough(const Search& search) {
  GraphStream* nearest = nullptr;
  for (uint32 i = 0; i < SourceCount(search); i++) {
    GraphStream* stream = &search.streams[i];
    if (!stream->HasRough()) continue;
    if (nearest == nullptr || stream->NearestRough() < nearest->NearestRough()) nearest = stream;
  }
  return nearest;
}

static void TakeFrom(Search* search, GraphStream* stream) {
  if (stream == nullptr) {
    if (search->filtered != nullptr)
      TakeSetCandidate(&search->filtered->scan);
    else
      storage::TakeFlatCandidate(search->flat);
    return;
  }
  std::pop_heap(stream->batch, stream->batch + stream->ready, policy::IsFarther);
  stream->ready--;
  // The next one, as likely as not; the server is busy with this one first.
  if (stream->ready > 0) storage::PrefetchTableRow(search->index, base::ToIndex(stream->batch[0].row));
}

bool MayTurnExact(const Search& search) {
  return search.filtered == nullptr && search.order != pg::IterativeScan::kOff && search.report.cut == 0 &&
         ExactPassFits(search);
}

/// Finds the source with the nearest candidate and takes it. False: all sources have ended, or the search turned exact.
static bool TakeNearest(Search* search, policy::Candidate* nearest) {
  GraphStream* from = nullptr;
  bool found;
  for (;;) {
    if (!RefillStreams(search)) return false;
    found = FindNearest(*search, nearest, &from);
    GraphStream* rough = FindNearestRough(*search);
    if (rough == nullptr || (found && *nearest < rough->NearestRough())) break;
    if (likely(rough->rough < rough->batch_size)) {
      ReRankNext(search, rough);
    } else if (rough->tail == nullptr) {
      if (!RefillFiltered(search, rough)) return false;
    } else if (!FetchTail(search, rough, get_float4_infinity())) {
      TurnExact(search);
      return false;
    }
  }
  storage::CloseRows(&search->vectors);
  bool graphs_ended = true;
  for (uint32 i = 0; i < search->stream_count; i++) graphs_ended &= search->streams[i].IsUsedUp();
  // Once the graphs have nothing left, what they did not reach may lie before the rest of the tail.
  if (graphs_ended && MayTurnExact(*search)) return false;
  if (found) TakeFrom(search, from);
  return found;
}

/// A row that was returned counts.
static void NoteLast(Search* search, const policy::Candidate& candidate) {
  if (!search->has_last || search->last_key < candidate.key) search->last_key = candidate.key;
  search->has_last = true;
}

bool ReturnRow(Search* search, const policy::Candidate& candidate, storage::ScanRow* row) {
  if (!storage::ReadFlatRow(search->flat, candidate, row)) return false;
  if (search->order != pg::IterativeScan::kRelaxedOrder && search->has_last &&
      candidate.key < search->last_key) {
    search->report.late++;
    return false;
  }
  search->has_unaccepted = search->awaits_acceptance;
  search->unaccepted = candidate;
  if (!search->has_unaccepted) NoteLast(search, candidate);
  return true;
}

void AcceptRow(Search* search) {
  if (!search->has_unaccepted) return;
  search->has_unaccepted = false;
  search->accepted++;
  NoteLast(search, search->unaccepted);
}

/// GrewTooLarge() of the ids alone, cheap enough for each row: while rows come from a tail or a set, no batch asks that.
static bool RemembersTooMuch(const Search& search) {
  return unlikely(search.returned.bytes() > static_cast<std::size_t>(work_mem) * 1024) &&
         (search.filtered != nullptr || MayTurnExact(search));
}

bool NextMerged(Search* search, storage::ScanRow* row) {
  policy::Candidate candidate;
  for (;;) {
    if (RemembersTooMuch(*search)) {
      TurnExact(search);
      return false;
    }
    if (!TakeNearest(search, &candidate)) return false;
    // The search began without its filter, and had this row then.
    if (search->filtered != nullptr && search->returned.IsSettled(candidate.row)) continue;
    // Nothing follows where graphs are all there is.
    if (search->order != pg::IterativeScan::kOff) search->returned.Add(candidate.row);
    if (!ReturnRow(search, candidate, row)) continue;
    search->delivered++;
    return true;
  }
}

}  // namespace tandem::am
