#include "pg/compat.hpp"

#include "am/returned_rows.hpp"

#include <algorithm>

#include "pg/reserve.hpp"

namespace tandem::am {

void ReturnedRows::Start(MemoryContext context) {
  context_ = context;
  size_ = settled_ = 0;
}

void ReturnedRows::Add(base::RowId row) {
  pg::ReserveOneMore(context_, &ids_, size_, &room_);
  ids_[size_++] = base::ToIndex(row);
}

base::Span<const uint64> ReturnedRows::Settle() {
  std::sort(ids_, ids_ + size_);
  settled_ = size_;
  return settled();
}

bool ReturnedRows::IsSettled(base::RowId row) const {
  return std::binary_search(ids_, ids_ + settled_, base::ToIndex(row));
}

}  // namespace tandem::am
