#pragma once
// The rows that the merge of a search has had: what comes after it returns none of them again, and knows that all others it meets are new.

#include "base/ids.hpp"
#include "base/span.hpp"

namespace tandem::am {

/// Plain data; one of zeroes is empty, and wants Start().
class ReturnedRows {
 public:
  /// Forgets everything. Memory is taken from `context`, and kept for the next start.
  void Start(MemoryContext context);

  /// A row that has not been settled, each once.
  void Add(base::RowId row);

  /// What was added so far is settled from here on. Returns all of that, ascending; it lasts until more is added.
  [[nodiscard]] base::Span<const uint64> Settle();
  [[nodiscard]] base::Span<const uint64> settled() const { return {ids_, settled_}; }
  [[nodiscard]] bool IsSettled(base::RowId row) const;

  /// Of what was added since.
  [[nodiscard]] std::size_t bytes() const { return (size_ - settled_) * sizeof(uint64); }

 private:
  MemoryContext context_;
  uint64* ids_;  ///< the first settled_ ascending
  std::size_t size_;
  std::size_t room_;
  std::size_t settled_;
};

}  // namespace tandem::am
