#pragma once
// hnswlib on float32 vectors: the reference that our own search is held to. Compiled apart, with every instruction of
// this CPU.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/distance.hpp"
#include "common/vector_file.hpp"

namespace tandem::bench {

struct ReferenceParameters {
  Metric metric = Metric::kL2;
  std::size_t m = 16;
  std::size_t ef_construction = 200;
  std::size_t seed = 100;
  std::size_t threads = 1;
  std::string
      cache;  ///< the graph is read from this file when it is there and written to it otherwise; "" for none
};

class ReferenceGraph {
 public:
  /// `base` must outlive it. Throws std::runtime_error for a cache of another set.
  ReferenceGraph(const VectorFile<float>& base, const ReferenceParameters& parameters);
  ~ReferenceGraph();
  ReferenceGraph(const ReferenceGraph&) = delete;
  ReferenceGraph& operator=(const ReferenceGraph&) = delete;

  [[nodiscard]] bool from_cache() const;
  [[nodiscard]] std::size_t MemoryBytes() const;
  void SetEf(std::size_t ef);
  /// Rows, nearest first. query: Prepared().
  [[nodiscard]] std::vector<std::int64_t> Search(const float* query, std::size_t k) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::bench
