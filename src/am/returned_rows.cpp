#include "pg/compat.hpp"

#include "am/returned_rows.hpp"

#include <algorithm>

#include "pg/reserve.hpp"

namespace tandem::am {

namespace {

/// Of a heap whose top is the nearest.
bool IsFarther(const policy::Candidate& a, const policy::Candidate& b) {
  return b < a;
}

}  // namespace

void ReturnedRows::Start(MemoryContext context) {
  context_ = context;
  size_ = id_count_ = 0;
  remembers_all_ = false;
}

void ReturnedRows::Add(const policy::Candidate& candidate) {
  pg::ReserveOneMore(context_, &rows_, size_, &room_);
  rows_[size_++] = candidate;
  // Most come in order, and stay where they are.
  std::push_heap(rows_, rows_ + size_, IsFarther);
}

void ReturnedRows::AddId(base::RowId row) {
  pg::ReserveOneMore(context_, &ids_, id_count_, &id_room_);
  ids_[id_count_++] = base::ToIndex(row);
}

void ReturnedRows::AddLate(base::RowId row) {
  if (remembers_all_) AddId(row);
}

uint64 ReturnedRows::PassNearer(policy::OrderedKey key) {
  uint64 passed = 0;
  for (; size_ > 0 && rows_[0].key < key; passed++) {
    if (remembers_all_) AddId(rows_[0].row);
    std::pop_heap(rows_, rows_ + size_, IsFarther);
    size_--;
  }
  return passed;
}

base::Span<const uint64> ReturnedRows::Settle() {
  for (std::size_t i = 0; i < size_; i++) AddId(rows_[i].row);
  size_ = 0;
  remembers_all_ = false;
  std::sort(ids_, ids_ + id_count_);
  return {ids_, id_count_};
}

bool ReturnedRows::IsSettled(base::RowId row) const {
  return id_count_ > 0 && std::binary_search(ids_, ids_ + id_count_, base::ToIndex(row));
}

}  // namespace tandem::am
