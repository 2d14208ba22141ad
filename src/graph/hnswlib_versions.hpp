#pragma once
// What hnswlib renamed between 0.6 and 0.9, which has no macro that says its version. Templates, for the one file that
// includes hnswlib (graph_builder.cpp): of two candidates the one whose member exists is chosen.

#include <memory>
#include <mutex>
#include <vector>

namespace tandem::graph {

/// The lock that addPoint() takes for label_lookup_.
template <typename Hnsw>
auto LabelLookupLock(Hnsw& hnsw, int /*preferred*/) -> decltype((hnsw.label_lookup_lock)) {
  return hnsw.label_lookup_lock;
}
template <typename Hnsw>
auto LabelLookupLock(Hnsw& hnsw, long /*before 0.7*/) -> decltype((hnsw.cur_element_count_guard_)) {
  return hnsw.cur_element_count_guard_;
}

/// Locks of elements that are changed, by label: only adding uses them.
template <typename Hnsw>
auto UpdateLocks(Hnsw& hnsw, int /*preferred*/) -> decltype((hnsw.label_op_locks_)) {
  return hnsw.label_op_locks_;
}
template <typename Hnsw>
auto UpdateLocks(Hnsw& hnsw, long /*before 0.7*/) -> decltype((hnsw.link_list_update_locks_)) {
  return hnsw.link_list_update_locks_;
}

/// visited_list_pool_ is a plain pointer before 0.8.
template <typename Pool>
void FreePool(Pool*& pool) {
  delete pool;
  pool = nullptr;
}
template <typename Pool>
void FreePool(std::unique_ptr<Pool>& pool) {
  pool.reset();
}

}  // namespace tandem::graph
