#pragma once
// The rows that the merge of a search has had, as far as what comes after it has to know them: so that none is returned twice, and each that
// strict order leaves out is counted.

#include "base/span.hpp"
#include "policy/top_candidates.hpp"

namespace tandem::am {

/// Plain data; one of zeroes is empty, and wants Start().
class ReturnedRows {
 public:
  /// Forgets everything. Memory is taken from `context`, and kept for the next start.
  void Start(MemoryContext context);
  /// Until Settle(), rows that others have passed are remembered, too.
  void RememberAll() { remembers_all_ = true; }

  /// The merge had a row, in order or not.
  void Add(const policy::Candidate& candidate);
  /// Strict order dropped a row.
  void AddLate(base::RowId row);
  /// Strict order goes on at `key`: what is nearer does not come again. Returns how many rows of Add() these are.
  [[nodiscard]] uint64 PassNearer(policy::OrderedKey key);

  /// From here on what was added so far is known by its ids, which are returned ascending, each once. They last until more is added
  /// and settled.
  [[nodiscard]] base::Span<const uint64> Settle();
  /// True of a row that was settled.
  [[nodiscard]] bool IsSettled(base::RowId row) const;

  [[nodiscard]] std::size_t bytes() const {
    return size_ * sizeof(policy::Candidate) + id_count_ * sizeof(uint64);
  }

 private:
  void AddId(base::RowId row);

  MemoryContext context_;
  policy::Candidate* rows_;  ///< a heap, the nearest on top
  std::size_t size_;
  std::size_t room_;
  uint64* ids_;  ///< ascending once they are settled
  std::size_t id_count_;
  std::size_t id_room_;
  bool remembers_all_;
};

}  // namespace tandem::am
